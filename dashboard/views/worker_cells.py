"""All workers at once: a grid of cells, a row a worker and a column a stretch of steps. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dashboard.queries.run_data import RunSnapshot
from dashboard.views.axes import TITLES, Axis
from dashboard.views.bands import means
from dashboard.views.curves import Level, Measure, curve, placement

Floats = npt.NDArray[Any]
MOST_ROWS = 64
MOST_COLUMNS = 500
MOST_CELLS = 10_240
"""So many values of four bytes are what one chart may send at every update: 41 kB."""


class WorkerCells(NamedTuple):
    """A grid of means.

    Args:
        values: (rows, columns) float32, NaN where nothing is known.
        edges: (columns + 1,) where the columns begin and end on the axis.
        first_workers: (rows,) the first worker of each row.
        workers_a_row: how many workers share a row, at most.
        points: how many values lie within the window.
    """

    measure: Measure
    x_title: str
    values: Floats
    edges: Floats
    first_workers: npt.NDArray[np.int64]
    workers_a_row: int
    points: int


def worker_cells(
    snapshot: RunSnapshot, measure: Measure, level: Level, axis: Axis, window: tuple[float, float] | None
) -> WorkerCells:
    """The cells of all workers within a window of the axis; all of it where there is none."""
    found = curve(snapshot, measure, level)
    x = placement(snapshot, axis).columns[found.columns]  # (points,) ends of the steps
    begins = np.append(0.0, x[:-1]) if len(x) else x
    low, high = window or (-np.inf, np.inf)
    inside = np.flatnonzero((x > low) & (begins < high))
    values, x, begins = found.values[:, inside], x[inside], begins[inside]
    workers, points = values.shape
    share = -(-workers // MOST_ROWS)
    first_workers = np.arange(0, workers, share)
    columns = max(1, min(points, MOST_COLUMNS, MOST_CELLS // len(first_workers)))
    starts = np.unique(np.arange(columns) * points // columns) if points else np.empty(0, np.int64)
    cells = values if len(starts) == points else means(values, None, starts)
    if share > 1:
        cells = means(cells.T, None, first_workers).T
    edges = np.append(begins[starts], x[-1:]) if points else np.empty(0)
    known = int(np.count_nonzero(~np.isnan(values)))
    return WorkerCells(measure, TITLES[axis], cells, edges, first_workers, share, known)
