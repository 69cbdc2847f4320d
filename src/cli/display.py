"""Shows a run while it goes on: on a thread of its own, at a few frames a second, from the store alone.

The thread that conducts the run never waits for it, and a frame that fails is left out.
"""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import Protocol, Self

from cli.console import is_interactive, messages
from cli.flags import Flags
from cli.follow import Follower, Snapshot
from contracts.errors import LambdafitError


class View(Protocol):
    """A way to show snapshots."""

    interval_s: float

    def begin(self) -> None:
        """Before the first snapshot."""

    def update(self, snapshot: Snapshot) -> None:
        """Show it."""

    def end(self) -> None:
        """After the last one."""


class NoView:
    """Shows nothing: `-q`."""

    interval_s = 1.0

    def begin(self) -> None:
        """Nothing."""

    def update(self, snapshot: Snapshot) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


def choose_view(flags: Flags) -> View:
    """A live picture on a terminal, plain lines elsewhere, nothing if asked to be quiet."""
    if flags.quiet:
        return NoView()
    console = messages()
    if is_interactive(console):
        from cli.live_view import LiveView

        return LiveView(console)
    from cli.plain_view import PlainView

    return PlainView()


class Display:
    """Shows a run while the body of its `with` runs."""

    def __init__(self, follower: Follower, view: View) -> None:
        self._follower = follower
        self._view = view
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show, name="display", daemon=True)

    def __enter__(self) -> Self:
        self._view.begin()
        if not isinstance(self._view, NoView):
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._view.end()

    def _show(self) -> None:
        while True:
            with contextlib.suppress(LambdafitError, OSError):  # the run itself is told of what matters
                self._view.update(self._follower.look())
            if self._over.wait(self._view.interval_s):
                return
