"""All lanes × time as a heat map of phases: the overview. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from dashboard.figures.figure import Figure, Table
from dashboard.figures.theme import Theme, base_layout
from dashboard.figures.worker_lanes import color_of, cut_marks, lane_axis, lane_mark, legend, legend_entries, shares
from dashboard.views import phases
from dashboard.views.mean_phases import MeanPhases
from dashboard.views.raster import Raster
from dashboard.views.timeline import Timeline
from dashboard.views.timeline_window import Window
from runs import words

CODES = len(phases.NAMES)


def raster_figure(
    timeline: Timeline, raster: Raster, means: MeanPhases, window: Window | None, worker: int | None, theme: Theme
) -> Figure:
    """The overview.

    Args:
        means: of each worker, for the sentence.
        window: what the detail shows, to be marked; None where that is what is seen here.
        worker: the chosen one, to be framed.
    """
    labels = timeline.lanes.labels
    heat: dict[str, Any] = {
        "type": "heatmap",
        "z": raster.codes,
        "x0": raster.cell_s / 2,
        "dx": raster.cell_s,
        "y": list(labels),
        "zmin": -0.5,
        "zmax": CODES - 0.5,
        "zsmooth": False,
        "colorscale": _colorscale(theme),
        "showscale": False,
        "showlegend": False,
        # A code says nothing to a reader: where it is drawn, each cell gets the word of its code.
        "meta": {"words": [phases.words_of(code) for code in range(CODES)]},
        "hovertemplate": "%{y}, about %{x:,.4~r} s: %{text}<extra></extra>",
    }
    shapes, notes = cut_marks(timeline.axis.cuts, theme)
    if window is not None:
        shapes.append(_window_mark(window, theme))
    if worker is not None:
        shapes.append(lane_mark(worker, theme))
    layout = base_layout(
        theme,
        x_title="seconds since the start",
        y_title="",
        yaxis=lane_axis(labels),
        xaxis={"showgrid": False},
        shapes=shapes,
        annotations=notes,
        legend=legend(theme),
        showlegend=True,
        hovermode="closest",
    )
    seen = int(np.count_nonzero(np.diff(raster.codes, axis=1))) + len(labels)
    every = len(timeline.bars.lane)
    return Figure(
        [heat, *legend_entries(raster.used, theme)],
        layout,
        _describe(timeline, means),
        min(seen, every),
        every,
        lambda: bars_table(timeline, np.arange(every)),
    )


def bars_table(timeline: Timeline, places: Any) -> Table:
    """The stretches of time at these places, one a row; seconds are attended ones since the start."""
    bars = timeline.bars.at(places)
    labels, names = np.array(timeline.lanes.labels), np.array([phases.words_of(code) for code in range(CODES)])
    return {
        "lane": labels[bars.lane],
        "round": bars.round,
        "attempt": bars.attempt,
        "phase": names[bars.phase],
        "start_s": np.round(bars.start_s, 6),
        "duration_s": np.round(bars.end_s - bars.start_s, 6),
    }


def _colorscale(theme: Theme) -> list[list[Any]]:
    """A flat colour a code: no cell is between two."""
    edges = np.arange(CODES + 1) / CODES
    scale: list[list[Any]] = []
    for code in range(CODES):
        scale += [[float(edges[code]), color_of(code, theme)], [float(edges[code + 1]), color_of(code, theme)]]
    return scale


def _window_mark(window: Window, theme: Theme) -> dict[str, Any]:
    return {
        "type": "rect",
        "x0": window.low_s,
        "x1": window.high_s,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": theme.text, "width": 1.5},
        "fillcolor": theme.band,
        "opacity": 0.35,
    }


def _describe(timeline: Timeline, means: MeanPhases) -> str:
    workers = words.count(timeline.lanes.workers, "worker")
    length = words.duration(timeline.axis.length_s)
    text = f"Where the time of {workers} went in {length}: {shares(list(means.all_seconds.sum(axis=1)))}."
    cuts = timeline.axis.cuts
    if cuts:
        left_out = words.duration(sum(cut.seconds for cut in cuts))
        text += f" {left_out} in which nobody worked on the run are left out."
    return text
