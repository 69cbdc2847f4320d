"""All lanes × time as one small picture: each cell shows the phase that fills most of it. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dashboard.views import phases
from dashboard.views.timeline import Bars, Timeline

MOST_CELLS = 1_000
MOST_BYTES = 58_000
"""Of all cells, which travel in binary: 64 kB with all that belongs to them."""

FEWEST_CELLS = 100
LITTLE = 0.5
"""What nobody reported weighs less than what somebody did: two attempts of a worker may lie over one another."""


class Raster(NamedTuple):
    """A picture of a timeline.

    Args:
        codes: (lanes, cells) uint8, codes of `phases.NAMES`.
        cell_s: the width of a cell in attended seconds; the first one begins at 0.
    """

    codes: npt.NDArray[np.uint8]
    cell_s: float

    @property
    def used(self) -> list[int]:
        """The codes that occur, ascending."""
        return [int(code) for code in np.flatnonzero(np.bincount(self.codes.ravel(), minlength=len(phases.NAMES)))]


def cells_for(lanes: int) -> int:
    """How many cells a row may have."""
    return max(FEWEST_CELLS, min(MOST_CELLS, MOST_BYTES // max(1, lanes)))


def make_raster(timeline: Timeline, cells: int | None = None) -> Raster:
    """The whole run.

    Args:
        cells: in a row; as many as is good for that many lanes where it is None.
    """
    lanes = len(timeline.lanes.labels)
    cells = cells or cells_for(lanes)
    cell_s = max(timeline.axis.length_s, 1e-9) / cells
    best = np.zeros((lanes, cells), np.float32)
    codes = np.full((lanes, cells), phases.IDLE_CODE, np.uint8)
    bars = timeline.bars
    total = np.zeros((lanes, cells), np.float32)
    for code in np.flatnonzero(np.bincount(bars.phase, minlength=len(phases.NAMES))):
        filled = _filled(bars, bars.phase == code, lanes, cells, cell_s)
        if code == phases.UNREPORTED_CODE:
            filled *= LITTLE
        total += filled
        more = filled > best
        np.copyto(best, filled, where=more)
        np.copyto(codes, np.uint8(code), where=more)
    codes[1 - total > best] = phases.IDLE_CODE  # more of the cell is empty than any phase has of it
    return Raster(codes, cell_s)


def _filled(bars: Bars, which: npt.NDArray[np.bool_], lanes: int, cells: int, cell_s: float) -> npt.NDArray[np.float32]:
    """How much of each cell these bars fill, (lanes, cells), 1 for all of it.

    A bar fills what is behind its `low` and takes away what is behind its `high`. Behind a moment lie the rest of its
    own cell and all later ones: two steps, that rest and 1 less the rest, of which the sum along the cells is taken.
    """
    low, high = bars.start_s[which] / cell_s, bars.end_s[which] / cell_s
    row = bars.lane[which].astype(np.int64) * (cells + 2)
    edges = np.zeros(lanes * (cells + 2))
    for at, sign in ((low, 1.0), (high, -1.0)):
        cell = np.minimum(at.astype(np.int64), cells)
        rest = cell + 1 - at  # of that cell, behind `at`
        edges += np.bincount(row + cell, sign * rest, len(edges))
        edges += np.bincount(row + cell + 1, sign * (1 - rest), len(edges))
    return np.cumsum(edges.reshape(lanes, cells + 2), axis=1)[:, :cells].astype(np.float32)
