"""The weighted mean of the workers' updates over one slice. NumPy only; peak memory is one slice and one block."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from contracts.errors import NoExamples, NotFinite, ShapeMismatch, TornFile
from contracts.ports import OpenFile, SharedFiles
from contracts.records import FileRef
from training.vector_files import PartReader, Vector

BLOCK_BYTES = 1 << 17
"""Of each update at once: with the running sum it stays in a core's second-level cache."""

OPEN_SHARE = 0.5
"""Of the descriptors that a process may have, how many open updates may take. Lambda allows 1,024, some laptops 256."""


@dataclass(frozen=True)
class Update:
    """What one worker handed in: its file, how many examples it stands for, and the nonce of its report."""

    worker_index: int
    file: FileRef
    examples: int
    nonce: str


class TornUpdates(Exception):
    """Updates whose bytes are not those reported: worker → nonce, and the first error found."""

    def __init__(self, voids: dict[int, str], error: TornFile) -> None:
        self.voids = voids
        self.error = error
        super().__init__(str(error))


def average_slice(files: SharedFiles, updates: Sequence[Update], bounds: Sequence[int], slice_index: int) -> Vector:
    """Mean of one slice of the workers' updates, weighted by examples: Σ nᵢ uᵢ / Σ nᵢ.

    Sums in the order given, so call it in worker order: arrival cannot then change a bit. The sum of an element does
    not depend on where slices or blocks are cut.

    Args:
        updates: one a worker, in worker order.
        bounds: the cuts of the whole vector; the slice is bounds[slice_index] … bounds[slice_index + 1].
    Returns:
        shape (slice,), of the updates' own type.
    Raises:
        NoExamples: the examples sum to zero.
        ShapeMismatch: a vector's length differs.
        TornUpdates: some files do not hold what was reported; all of them are named.
        NotFinite: the mean is not finite.
    """
    examples = sum(update.examples for update in updates)
    if not examples:
        raise NoExamples("combine", f"{len(updates)} updates of 0 examples")
    for update in updates:
        if update.file.count != bounds[-1]:
            where = f"update of worker {update.worker_index}"
            raise ShapeMismatch(where, f"{update.file.count} values", f"{bounds[-1]}")
    low, high = bounds[slice_index], bounds[slice_index + 1]
    dtype = np.dtype(updates[0].file.dtype)
    weights = [dtype.type(update.examples / examples) for update in updates]
    total = np.empty(high - low, dtype=dtype)  # (slice,)
    with ExitStack() as files_open:
        readers = _open_parts(files, updates, slice_index, low, files_open)
        block_values = BLOCK_BYTES // dtype.itemsize
        buffer = np.empty(block_values, dtype=dtype)
        finite = True
        for start in range(0, total.size, block_values):
            target = total[start : start + block_values]  # (block,)
            block = buffer[: target.size]
            for index, (reader, weight) in enumerate(zip(readers, weights, strict=True)):
                part = block if index else target
                reader.read_next(part)
                part *= weight
                if index:
                    target += part
            finite = finite and _is_finite(target)
        _check_parts(updates, readers)
    if not finite:
        raise NotFinite("combine", f"the mean update of slice {slice_index} is not finite", "finite values")
    return total


def _is_finite(block: Vector) -> bool:
    """Whether all values are. Their sum tells at once, but for one that overflows though no value is infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(block.sum()) or np.isfinite(block).all())


def _open_parts(
    files: SharedFiles, updates: Sequence[Update], slice_index: int, low: int, files_open: ExitStack
) -> list[PartReader]:
    """Every update's part, open; all that cannot be read to its end are named at once."""
    readers: list[PartReader] = []
    torn = _Torn()
    most_open = _most_open()
    for update in updates:
        with torn.noting(update):
            file: OpenFile = _OpenedEachTime(files, update.file.path)
            if len(readers) < most_open:
                file = files_open.enter_context(files.open(update.file.path))
            file.read_into(update.file.bytes - 1, bytearray(1))
            readers.append(PartReader(file, update.file, slice_index, low))
    torn.raise_if_any()
    return readers


def _most_open() -> float:
    """How many updates may stay open."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if allowed == resource.RLIM_INFINITY else allowed * OPEN_SHARE


class _OpenedEachTime:
    """Implements `contracts.ports.OpenFile` without a descriptor. What it reads is hashed like anything else."""

    def __init__(self, files: SharedFiles, path: str) -> None:
        self._files = files
        self._path = path

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is open."""

    def read_into(self, offset: int, buffer: Any) -> None:
        """See `OpenFile.read_into`."""
        self._files.read_into(self._path, offset, buffer)


def _check_parts(updates: Sequence[Update], readers: Sequence[PartReader]) -> None:
    torn = _Torn()
    for update, reader in zip(updates, readers, strict=True):
        with torn.noting(update):
            reader.check()
    torn.raise_if_any()


class _Torn:
    """Collects the updates found torn."""

    def __init__(self) -> None:
        self._voids: dict[int, str] = {}
        self._first: TornFile | None = None

    @contextmanager
    def noting(self, update: Update) -> Iterator[None]:
        try:
            yield
        except TornFile as error:
            self._voids[update.worker_index] = update.nonce
            self._first = self._first or error

    def raise_if_any(self) -> None:
        if self._first is not None:
            raise TornUpdates(self._voids, self._first)
