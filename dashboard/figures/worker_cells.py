"""All workers at once, drawn as a heat map: a row a worker, a column a stretch of steps. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from dashboard.figures.figure import Figure
from dashboard.figures.theme import Theme, base_layout
from dashboard.views.worker_cells import WorkerCells
from runs.words import number


def worker_cells_figure(cells: WorkerCells, theme: Theme, *, log: bool = False) -> Figure:
    """The heat map.

    Args:
        log: colours and hover by the logarithm of the loss; words and table say the loss itself.
    """
    log = log and cells.measure == "loss"
    values = cells.values
    if log:
        values = np.log10(np.where(values > 0, values, np.nan))
    bar: dict[str, Any] = {"title": {"text": f"log₁₀ {cells.measure}" if log else cells.measure}, "thickness": 12}
    trace = {
        "type": "heatmap",
        "x": cells.edges,
        "y": cells.first_workers,
        "z": values,
        "colorscale": "Viridis",
        "reversescale": cells.measure == "loss",
        "colorbar": {**bar, "outlinewidth": 0, "tickfont": {"color": theme.muted}},
        "hovertemplate": _hover(cells, log),
    }
    layout = base_layout(
        theme,
        x_title=cells.x_title,
        y_title="worker",
        hovermode="closest",
        yaxis={"autorange": "reversed", "fixedrange": True, "showgrid": False, "tickformat": "d"},
        xaxis={"showgrid": False},
    )
    drawn = int(np.count_nonzero(~np.isnan(cells.values)))
    return Figure([trace], layout, describe_cells(cells), drawn, cells.points, lambda: _table(cells))


def describe_cells(cells: WorkerCells) -> str:
    """Which worker differs most, with figures."""
    known = ~np.isnan(cells.values)
    if not known.any():
        return f"No {cells.measure} of any worker yet."
    sums = np.where(known, cells.values, 0).sum(axis=1)
    there = known.any(axis=1)
    of_rows = sums[there] / known[there].sum(axis=1)  # (rows,)
    rows = cells.first_workers[there]
    low, high = int(np.argmin(of_rows)), int(np.argmax(of_rows))
    return (
        f"Training {cells.measure} of {len(rows):,} {_rows_word(cells)} by {cells.x_title}: on average highest at "
        f"{_row_name(cells, int(rows[high]))} with {number(float(of_rows[high]))}, lowest at "
        f"{_row_name(cells, int(rows[low]))} with {number(float(of_rows[low]))}."
    )


def _hover(cells: WorkerCells, log: bool) -> str:
    which = "worker %{y}" if cells.workers_a_row == 1 else f"{cells.workers_a_row} workers from %{{y}} on"
    value = f"{'log₁₀ ' if log else ''}{cells.measure} %{{z:.4f}}"
    return f"{which}, {cells.x_title} about %{{x:,.6~g}}: {value}<extra></extra>"


def _rows_word(cells: WorkerCells) -> str:
    return "workers" if cells.workers_a_row == 1 else f"groups of {cells.workers_a_row} workers"


def _row_name(cells: WorkerCells, first: int) -> str:
    return f"worker {first}" if cells.workers_a_row == 1 else f"workers {first} to {first + cells.workers_a_row - 1}"


def _table(cells: WorkerCells) -> dict[str, Any]:
    """A row a column of the map, so that workers stand side by side."""
    columns: dict[str, Any] = {cells.x_title: cells.edges[1:]}
    return columns | {_row_name(cells, int(first)): cells.values[row] for row, first in enumerate(cells.first_workers)}
