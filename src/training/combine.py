"""The weighted mean of the workers' updates over one slice. NumPy only; peak memory is one slice and one block."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from contracts.errors import NoExamples, NotFinite, ShapeMismatch, TornFile
from contracts.ports import OpenFile, SharedFiles
from contracts.records import FileRef
from training.bfloat16 import BFLOAT16
from training.vector_files import UPDATE_TYPES, PartReader, Vector

BLOCK_BYTES = 3 << 16
"""Of the sum at once: with a block of an update it stays in a core's second-level cache, and each call is worth it."""

VIEWED_BYTES = 256 << 20
"""Of all updates, mapped at a time."""

OPEN_SHARE = 0.4
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
        shape (slice,), of the updates' own type; float32 of bfloat16.
    Raises:
        NoExamples: the examples sum to zero.
        ShapeMismatch: a vector's length or type differs.
        TornUpdates: some files do not hold what was reported; all of them are named.
        NotFinite: the mean is not finite.
    """
    weights, scale = mean_weights([update.examples for update in updates])
    stored = updates[0].file.dtype
    for update in updates:
        _check_shape(update, bounds[-1], stored)
    low, high = bounds[slice_index], bounds[slice_index + 1]
    total = np.empty(high - low, dtype="float32" if stored == BFLOAT16 else stored)  # (slice,)
    with ExitStack() as files_open:
        readers = _open_parts(files, updates, slice_index, (low, high), files_open)
        finite = _sum(readers, weights, scale, total)
        _check_parts(updates, readers)
    if not finite:
        raise NotFinite("combine", f"the mean update of slice {slice_index} is not finite", "finite values")
    return total


def _check_shape(update: Update, count: int, dtype: str) -> None:
    """Before anything is allocated or read."""
    where = f"update of worker {update.worker_index}"
    if update.file.count != count:
        raise ShapeMismatch(where, f"{update.file.count} values", f"{count}")
    if update.file.dtype != dtype or dtype not in UPDATE_TYPES:
        raise ShapeMismatch(where, f"values of type {update.file.dtype!r}", f"{dtype!r}, one of {UPDATE_TYPES}")


def mean_weights(examples: Sequence[int]) -> tuple[list[float], float]:
    """Weights wᵢ and a scale s so that the mean is s Σ wᵢ uᵢ.

    Those with as many examples as most have weigh 1: most updates then need no multiplication.

    Raises:
        NoExamples: the examples sum to zero.
    """
    total = sum(examples)
    if not total:
        raise NoExamples("combine", f"{len(examples)} updates of 0 examples")
    ((usual, _),) = Counter(count for count in examples if count).most_common(1)
    return [count / usual for count in examples], usual / total


def _sum(readers: Sequence[PartReader], weights: Sequence[float], scale: float, total: Vector) -> bool:
    """Fill `total`, of shape (slice,), with s Σ wᵢ uᵢ, block by block. Returns whether all of it is finite."""
    dtype = total.dtype
    factors = [None if weight == 1 else dtype.type(weight) for weight in weights]
    weighed = list(zip(readers, factors, strict=True))
    last = dtype.type(scale)
    block_values = BLOCK_BYTES // dtype.itemsize
    buffer = np.empty(min(block_values, total.size), dtype=dtype)
    finite = True
    for start in range(0, total.size, block_values):
        target = total[start : start + block_values]  # (block,)
        _sum_block(weighed, target, buffer[: target.size])
        target *= last
        finite = finite and _is_finite(target)
    return finite


def _sum_block(weighed: Sequence[tuple[PartReader, Any]], target: Vector, buffer: Vector) -> None:
    """Fill `target`, of shape (block,), with the sum of every reader's next values, each times its factor.

    Args:
        weighed: None as a factor is 1.
        buffer: shape (block,), to be written to.
    """
    (first, factor), *others = weighed
    total = first.next_block(target)
    if factor is not None:
        total = np.multiply(total, factor, out=target)
    for reader, weight in others:
        block = reader.next_block(buffer)
        if weight is not None:
            block = np.multiply(block, weight, out=buffer)
        total = np.add(total, block, out=target)
    if total is not target:
        np.copyto(target, total)


def _is_finite(block: Vector) -> bool:
    """Whether all values are. Their sum tells at once, but for one that overflows though no value is infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(block.sum()) or np.isfinite(block).all())


def _open_parts(
    files: SharedFiles, updates: Sequence[Update], slice_index: int, stretch: tuple[int, int], files_open: ExitStack
) -> list[PartReader]:
    """Every update's part, open; all that cannot be read to its end are named at once."""
    readers: list[PartReader] = []
    halves = np.empty(BLOCK_BYTES // 4, dtype=np.uint16) if updates[0].file.dtype == BFLOAT16 else None
    torn = _Torn()
    most_open = _most_open()
    window_bytes = VIEWED_BYTES // len(updates)
    for update in updates:
        with torn.noting(update):
            file: OpenFile = _OpenedEachTime(files, update.file.path)
            if len(readers) < most_open:
                file = files_open.enter_context(files.open(update.file.path))
            file.read_into(update.file.bytes - 1, bytearray(1))
            readers.append(PartReader(file, update.file, slice_index, *stretch, halves, window_bytes))
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

    def view(self, _offset: int, _size: int) -> memoryview | None:
        """None."""
        return None


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
