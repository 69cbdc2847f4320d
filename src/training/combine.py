"""The weighted mean of the workers' updates over one slice. NumPy only; peak memory is one slice and one block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contracts.errors import NoExamples, NotFinite, ShapeMismatch, TornFile
from contracts.ports import SharedFiles
from contracts.records import FileRef
from training.vector_files import BLOCK_BYTES, Vector, read_blocks


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
    low, high = bounds[slice_index], bounds[slice_index + 1]
    dtype = np.dtype(updates[0].file.dtype)
    total = np.zeros(high - low, dtype=dtype)  # (slice,)
    buffer = np.empty(BLOCK_BYTES, dtype=np.uint8)
    voids: dict[int, str] = {}
    torn: TornFile | None = None
    for update in updates:
        if update.file.count != bounds[-1]:
            where = f"update of worker {update.worker_index}"
            raise ShapeMismatch(where, f"{update.file.count} values", f"{bounds[-1]}")
        weight = dtype.type(update.examples / examples)
        try:
            for start, block in read_blocks(files, update.file, slice_index, low, high, buffer):
                block *= weight
                total[start : start + block.size] += block
        except TornFile as error:
            voids[update.worker_index] = update.nonce
            torn = torn or error
    if torn is not None:
        raise TornUpdates(voids, torn)
    if not np.isfinite(total.sum(dtype=np.float64)) and not np.isfinite(total).all():
        raise NotFinite("combine", f"the mean update of slice {slice_index} is not finite", "finite values")
    return total
