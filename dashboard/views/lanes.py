"""The lines of a timeline: one a worker, one a combine slice, one for each other kind of task. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.records import TaskKind

KINDS: tuple[TaskKind, ...] = ("train", "combine", "prepare", "extract", "initialise", "evaluate", "clear")
"""In the order of their lanes; a kind's code is its place here. Workers extract, so that those tasks lie on theirs."""

KIND_CODES: dict[str, int] = {kind: code for code, kind in enumerate(KINDS)}
TRAIN, COMBINE, EXTRACT = KIND_CODES["train"], KIND_CODES["combine"], KIND_CODES["extract"]
MANY = (TRAIN, COMBINE, EXTRACT)
"""Of which a round has several at once, a lane each; of the other kinds each has one lane."""


class Lanes(NamedTuple):
    """Workers first, so that a worker's lane is its index.

    Args:
        first: (kinds,) int32, the lane at which each kind begins.
        labels: one a lane, unlike each other.
    """

    workers: int
    first: npt.NDArray[np.int32]
    labels: tuple[str, ...]

    def of(self, kinds: npt.NDArray[Any], indices: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Lanes of tasks by the codes of their kinds and their indices among these; shapes (n,)."""
        return np.asarray(self.first[kinds] + np.where(np.isin(kinds, MANY), indices, 0), np.int32)


def make_lanes(workers: int, slices: int, kinds: Collection[int]) -> Lanes:
    """The lanes of a run.

    Args:
        slices: how many combine tasks a round has.
        kinds: codes of the kinds of task that there are so far.
    """
    labels = [f"worker {index}" for index in range(workers)]
    first = [0, len(labels)]
    labels += [f"combine {index}" for index in range(slices)]
    for code in range(COMBINE + 1, len(KINDS)):
        first.append(0 if code == EXTRACT else len(labels))
        if code in kinds and code != EXTRACT:
            labels.append(KINDS[code])
    return Lanes(workers, np.array(first, np.int32), tuple(labels))
