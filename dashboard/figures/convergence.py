"""Loss and accuracy of a run, drawn: a band over the workers, chosen workers, validation, combine points. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dashboard.figures.figure import Figure
from dashboard.figures.sampling import thin, window
from dashboard.figures.theme import Theme, base_layout
from dashboard.views.bands import Band
from dashboard.views.convergence import Line, MeasureView, Validated
from runs.words import number

Floats = npt.NDArray[Any]
Range = tuple[float, float] | None

MOST_POINTS = 1_000
"""Of a line."""

MOST_VALUES = 9_000
"""Of a chart: at four bytes each that is 36 kB, and a page draws two charts at every update."""

MOST_COMBINE_LINES = 60
MOST_COMBINE_TICKS = 100
"""Each is a node of the page: of a run that is watched for hours they must not grow more and more."""

WORKER_COLORS = (1, 2, 3, 4, 5, 6, 7, 0)
"""Places among the theme's series; the first of these is close to the accent, which the median has."""

MARKS = "y2"
"""An axis from 0 to 1 over the whole height, for marks that go with a place and no value."""


class Drawn(NamedTuple):
    """Traces so far, and what was thinned out."""

    traces: list[dict[str, Any]]
    shown_points: int
    all_points: int


def measure_figure(view: MeasureView, theme: Theme, visible: Range = None) -> Figure:
    """The chart of one measure.

    Args:
        visible: what can be seen of the x-axis: only points within it, and their next neighbours, are drawn.
    """
    most = points_a_line(view)
    curves = _curves(view, theme, visible, most)
    marks, _ = combine_marks(view, theme, visible)
    traces = [*curves.traces, *marks, *_validation(view, theme, most), *_best(view, theme)]
    layout = base_layout(
        theme,
        x_title=view.x_title,
        y_title=_y_title(view),
        yaxis={"overlaying": MARKS, "tickmode": "auto", "showgrid": True, **_y_axis(view)},
        legend={"traceorder": "normal"},  # an area would turn it round
        xaxis={"showgrid": False, "rangemode": "nonnegative"},  # a grid would be taken for combine points
        yaxis2={"range": [0, 1], "visible": False, "fixedrange": True},
    )
    if view.target is not None:
        layout |= _target(view.target, theme)
    return Figure(traces, layout, describe(view), curves.shown_points, curves.all_points, lambda: _table(view, visible))


def points_a_line(view: MeasureView) -> int:
    """So many that all lines together stay within what one update may send: each point is an x and a y."""
    smoothing = 2 if view.choices.smoothing > 0 else 1
    drawn = len(view.lines) * smoothing + (2 if view.band else 0)
    return min(MOST_POINTS, MOST_VALUES // (2 * max(1, drawn)))


def combine_marks(view: MeasureView, theme: Theme, visible: Range) -> tuple[list[dict[str, Any]], str]:
    """Where rounds were combined: thin lines, or ticks on the axis where there are many. And what to say about it."""
    x = view.combined
    if visible is not None:
        x = x[(x >= visible[0]) & (x <= visible[1])]
    if not len(x):
        return [], ""
    trace: dict[str, Any] = {"type": "scatter", "yaxis": MARKS, "name": "combined", "hoverinfo": "skip"}
    if len(x) <= MOST_COMBINE_LINES:
        ends = np.tile(np.array([0.0, 1.0, np.nan]), len(x))
        line = {"color": theme.muted, "width": 0.75, "dash": "dot"}
        return [{**trace, "mode": "lines", "x": np.repeat(x, 3), "y": ends, "line": line, "opacity": 0.6}], ""
    drawn = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_COMBINE_TICKS)).round().astype(np.int64))
    marker = {"symbol": "line-ns-open", "size": 9, "color": theme.muted, "line": {"width": 1}}
    words = f"{len(x):,} combine points: as ticks on the axis"
    words += f", {len(drawn):,} of them; zoom in for lines." if len(drawn) < len(x) else "; zoom in for lines."
    return [{**trace, "mode": "markers", "x": x[drawn], "y": np.zeros(len(drawn)), "marker": marker}], words


def worker_color(place: int, theme: Theme) -> str:
    """Of the chosen worker at that place."""
    return theme.series[WORKER_COLORS[place % len(WORKER_COLORS)]]


def describe(view: MeasureView) -> str:
    """What can be seen, with figures."""
    parts = []
    title = "Training loss" if view.measure == "loss" else "Training accuracy"
    if view.lines:
        line = view.lines[0]
        parts.append(
            f"{title} by {view.x_title}, {line.name}: from {number(float(line.raw[0]))} "
            f"to {number(float(line.raw[-1]))} at {float(line.x[-1]):,.6g}"
        )
    if view.band is not None:
        parts.append(
            f"10th to 90th percentile {number(float(view.band.low[-1]))} to {number(float(view.band.high[-1]))}"
        )
    if len(view.validated.x):
        values = view.validated
        parts.append(f"validation {number(float(values.values[-1]))} after round {int(values.rounds[-1])}")
    if view.best is not None:
        parts.append(f"best checkpoint after round {view.best[2]} with {number(view.best[1])}")
    return "; ".join(parts) + "." if parts else f"{title}: nothing yet."


def _curves(view: MeasureView, theme: Theme, visible: Range, most: int) -> Drawn:
    traces: list[dict[str, Any]] = []
    shown = points = 0
    for place, line in enumerate(view.lines):
        seen = inside(line.x, visible)
        picked = seen[thin(line.x[seen], line.raw[seen], most)]
        if place == 0 and view.band is not None:
            traces += _band(line.x, view.band, picked, theme, _floor(view))
        is_main = line.worker is None or len(view.lines) == 1
        color = theme.accent if is_main else worker_color(place - 1, theme)
        traces += _line(line, seen, picked, most, color, 2 if is_main else 1.5)
        shown, points = shown + len(picked), points + len(seen)
    return Drawn(traces, shown, points)


def inside(x: Floats, visible: Range) -> npt.NDArray[np.int64]:
    """The points that can be seen, and one more on either side, so that lines run on to the edges."""
    return np.arange(len(x)) if visible is None else np.arange(len(x))[window(x, *visible)]


def _band(x: Floats, band: Band, picked: npt.NDArray[np.int64], theme: Theme, floor: float) -> list[dict[str, Any]]:
    edge: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "x": x[picked],
        "line": {"width": 0, "color": theme.accent},
    }
    low, high = np.maximum(band.low[picked], floor), np.maximum(band.high[picked], floor)
    hover = "%{y:.4f}"
    return [
        {**edge, "name": "10th percentile", "y": low, "showlegend": False, "hovertemplate": hover},
        {
            **edge,
            "name": "10th to 90th percentile",
            "y": high,
            "fill": "tonexty",
            "fillcolor": theme.band,
            "hovertemplate": hover,
        },
    ]


def _line(
    line: Line, seen: npt.NDArray[np.int64], picked: npt.NDArray[np.int64], most: int, color: str, width: float
) -> list[dict[str, Any]]:
    trace = {"type": "scatter", "mode": "lines", "hovertemplate": "%{y:.4f}"}
    raw: dict[str, Any] = {
        **trace,
        "name": line.name,
        "x": line.x[picked],
        "y": line.raw[picked],
        "line": {"color": color, "width": width},
    }
    if line.smooth is None:
        return [raw]
    raw |= {"opacity": 0.3, "showlegend": False, "hoverinfo": "skip", "line": {"color": color, "width": 1}}
    del raw["hovertemplate"]
    places = seen[thin(line.x[seen], line.smooth[seen], most)]
    name = f"{line.name}, smoothed"
    line_style = {"color": color, "width": width}
    return [raw, {**trace, "name": name, "x": line.x[places], "y": line.smooth[places], "line": line_style}]


def _validation(view: MeasureView, theme: Theme, most: int) -> list[dict[str, Any]]:
    checkpoints: Validated = view.validated
    if not len(checkpoints.x):
        return []
    picked = thin(checkpoints.x, checkpoints.values, min(most, MOST_COMBINE_TICKS))
    color = theme.text
    return [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "validation",
            "x": checkpoints.x[picked],
            "y": checkpoints.values[picked],
            "customdata": checkpoints.rounds[picked],
            "line": {"color": color, "width": 1.5},
            "marker": {"color": color, "size": 6 if len(picked) <= MOST_COMBINE_LINES else 4},
            "hovertemplate": "%{y:.4f} after round %{customdata}",
        }
    ]


def _best(view: MeasureView, theme: Theme) -> list[dict[str, Any]]:
    if view.best is None:
        return []
    x, value, round_index = view.best
    marker = {"symbol": "star", "size": 14, "color": theme.accent, "line": {"color": theme.text, "width": 1}}
    hover = "%{y:.4f} after round " + str(round_index)
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "best checkpoint",
            "x": [x],
            "y": [value],
            "marker": marker,
            "hovertemplate": hover,
        }
    ]


def _target(target: float, theme: Theme) -> dict[str, Any]:
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": target, "y1": target}
    words = {"text": f"target {target:.4g}", "xref": "paper", "x": 1, "y": target, "font": {"color": theme.text}}
    return {
        "shapes": [{**line, "line": {"color": theme.text, "width": 1, "dash": "dash"}}],
        "annotations": [{**words, "xanchor": "right", "yanchor": "bottom", "showarrow": False}],
    }


def _y_title(view: MeasureView) -> str:
    return "loss, logarithmic" if _is_log(view) else view.measure


def _y_axis(view: MeasureView) -> dict[str, Any]:
    if view.measure == "accuracy":
        return {"tickformat": ".0%" if _is_wide(view) else ".1%"}
    return {"type": "log"} if _is_log(view) else {}


def _is_log(view: MeasureView) -> bool:
    return view.choices.log and view.measure == "loss"


def _is_wide(view: MeasureView) -> bool:
    """Whether whole percents tell the ticks apart."""
    values = np.concatenate([view.validated.values, *(line.raw for line in view.lines)])
    return bool(np.nanmax(values, initial=0.0) - np.nanmin(values, initial=1.0) > 0.1)


def _floor(view: MeasureView) -> float:
    """A logarithmic axis has no zero: a band that touches it ends at the least median."""
    if not _is_log(view):
        return -np.inf
    positive = view.lines[0].raw[view.lines[0].raw > 0]
    return float(positive.min()) / 10 if len(positive) else -np.inf


def _table(view: MeasureView, visible: Range) -> dict[str, Any]:
    """Every point within the window, a row each. Workers that have their own times are laid beside the median's."""
    if not view.lines:
        return {view.x_title: view.validated.x, "round": view.validated.rounds, "validation": view.validated.values}
    seen = inside(view.x, visible)
    columns: dict[str, Any] = {view.x_title: view.x[seen]}
    if view.band is not None:
        columns |= {"10th percentile": view.band.low[seen], "90th percentile": view.band.high[seen]}
    for line in view.lines:
        values, smooth = _laid_on(view.x, line)
        columns[line.name] = values[seen]
        if smooth is not None:
            columns[f"{line.name}, smoothed"] = smooth[seen]
    return columns


def _laid_on(x: Floats, line: Line) -> tuple[Floats, Floats | None]:
    """A line's values at the band's points; a worker may lack some of them."""
    if len(line.x) == len(x):
        return line.raw, line.smooth
    values, smooth = np.full(len(x), np.nan), np.full(len(x), np.nan)
    values[line.points], smooth[line.points] = line.raw, np.nan if line.smooth is None else line.smooth
    return values, None if line.smooth is None else smooth
