"""The trainer of an execution environment, and the libraries that it needs.

Where TensorFlow is installed, INIT imports it: that is not counted in a function's time limit. Where it has to be
fetched, which takes longer than INIT may, the first task does it, once claimed: an offer waits 20 s and no longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from handlers import wiring
from libraries import load

if TYPE_CHECKING:
    from runs.keras_trainer import KerasTrainer

Spans = Callable[[str], AbstractContextManager[None]]


@contextmanager
def unrecorded(_name: str) -> Iterator[None]:
    """For work that keeps no spans."""
    yield


def places() -> load.Places:
    """Where this function's libraries may be, and which ones: who can write the bucket does not decide that."""
    known = wiring.environment()
    deployed = known.libraries in (load.S3, load.EFS)
    return load.Places(
        source=known.libraries,
        shared=known.shared_folder,
        objects=wiring.objects,
        digest=known.libraries_digest if deployed else None,
    )


def ensure_libraries(span: Spans = unrecorded) -> None:
    """Make TensorFlow importable; from the second call on, nothing is left to do.

    Raises:
        LambdafitError: E411 to E415, see `libraries.load.ensure`.
    """
    if load.loaded() is None and wiring.environment().libraries:
        with span("libraries"):
            load.ensure(places())


class WarmTrainer:
    """Gives the trainer. Made where a handler's module is imported, which is in INIT."""

    def __init__(self) -> None:
        self._trainer: KerasTrainer | None = None
        if not wiring.environment().libraries:
            self._trainer = _make()

    def get(self, span: Spans = unrecorded) -> KerasTrainer:
        """The trainer: the same one for all tasks of this environment.

        Args:
            span: records where the time goes.
        Raises:
            LambdafitError: E411 to E415, see `libraries.load.ensure`.
        """
        if self._trainer is None:
            ensure_libraries(span)
            with span("import"):
                self._trainer = _make()
        return self._trainer


def _make() -> KerasTrainer:
    """With threads pinned, before any operation runs."""
    from runs.keras_trainer import KerasTrainer

    return KerasTrainer(wiring.services().files, threads=wiring.environment().threads)
