"""A window of the timeline, bar by bar, with the attempts that did not end well. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from dashboard.figures.figure import Figure
from dashboard.figures.theme import Theme, base_layout
from dashboard.figures.worker_lanes import color_of, cut_marks, lane_axis, lane_mark, legend
from dashboard.figures.worker_raster import bars_table
from dashboard.views import phases
from dashboard.views.task_rows import OUTCOMES
from dashboard.views.timeline import Attempts, Bars, Floats, Timeline
from dashboard.views.timeline_window import Detail, Window
from runs import words

PATTERNS = {"paused": ".", "failed": "x", "lost": "x", "superseded": "/"}
MARKS = {"paused": "handed over", "failed": "failed", "lost": "lost", "superseded": "refused"}


def timeline_figure(timeline: Timeline, detail: Detail, worker: int | None, theme: Theme) -> Figure:
    """The bars of a window.

    Args:
        worker: the chosen one, to be framed.
    """
    labels = timeline.lanes.labels
    bars, window = detail.bars, detail.window
    codes = [int(code) for code in np.unique(bars.phase)]
    codes.sort(key=lambda code: code != phases.UNREPORTED_CODE)  # beneath what is known better
    data = [_trace(bars.at(np.flatnonzero(bars.phase == code)), code, window, labels, theme) for code in codes]
    if len(detail.marked.lane):
        data.append(_marks(detail.marked, window, labels, theme))
    shapes, notes = cut_marks([cut for cut in timeline.axis.cuts if window.low_s <= cut.at_s <= window.high_s], theme)
    if worker is not None:
        shapes.append(lane_mark(worker, theme))
    layout = base_layout(
        theme,
        x_title="seconds since the start",
        y_title="",
        yaxis=lane_axis(labels),
        # A zoom lasts as long as the window is the same.
        xaxis={"uirevision": window.words},
        barmode="overlay",
        bargap=0.15,
        shapes=shapes,
        annotations=notes,
        legend=legend(theme),
        showlegend=True,
        hovermode="closest",
    )
    shown = len(bars.lane)
    table = detail.every
    return Figure(
        data, layout, _describe(timeline, detail), shown, detail.all_bars, lambda: bars_table(timeline, table)
    )


def _trace(bars: Bars, code: int, window: Window, labels: tuple[str, ...], theme: Theme) -> dict[str, Any]:
    lasted = bars.end_s - bars.start_s
    name = phases.words_of(code)
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": [labels[lane] for lane in bars.lane],
        **_clipped(bars.start_s, bars.end_s, window),
        "marker": {"color": color_of(code, theme), "line": {"width": 0}},
        "customdata": np.column_stack([bars.round, bars.attempt, lasted]).astype(np.float32),  # (bars, 3)
        "hovertemplate": f"%{{y}}, round %{{customdata[0]}}: {name} %{{customdata[2]:.4~r}} s<extra></extra>",
    }


def _clipped(start_s: Floats, end_s: Floats, window: Window) -> dict[str, Floats]:
    """Bars end where the window does: then a double click, which shows all that is drawn, shows the window."""
    base = np.maximum(start_s, window.low_s)
    return {"base": base, "x": np.minimum(end_s, window.high_s) - base}


def _marks(marked: Attempts, window: Window, labels: tuple[str, ...], theme: Theme) -> dict[str, Any]:
    """Hatched frames over attempts that failed, were lost or refused, or handed over; each says so."""
    outcomes = [OUTCOMES[code] for code in marked.rows["outcome"]]
    about = marked.rows[["round", "attempt"]]
    return {
        "type": "bar",
        "orientation": "h",
        "name": "hatched: not the last attempt",
        "y": [labels[lane] for lane in marked.lane],
        **_clipped(marked.start_s, marked.end_s, window),
        "marker": {
            "color": "rgba(0,0,0,0)",
            "line": {"color": theme.text, "width": 1.5},
            "pattern": {"shape": [PATTERNS[name] for name in outcomes], "fgcolor": theme.text, "size": 6},
        },
        "text": [MARKS[name] for name in outcomes],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textfont": {"color": theme.text, "size": 11},
        "constraintext": "none",
        "customdata": [[int(row["round"]), int(row["attempt"])] for row in about],
        "hovertemplate": "%{y}, round %{customdata[0]}, attempt %{customdata[1]}: %{text}<extra></extra>",
    }


def _describe(timeline: Timeline, detail: Detail) -> str:
    window = detail.window
    text = (
        f"{words.count(len(timeline.lanes.labels), 'lane')} from {window.low_s:,.2f} s to {window.high_s:,.2f} s "
        f"({window.words}): {words.count(detail.all_bars, 'stretch', 'stretches')} of time"
    )
    outcomes = [OUTCOMES[code] for code in detail.marked.rows["outcome"]]
    found = [f"{outcomes.count(name)} {word}" for name, word in MARKS.items() if name in outcomes]
    return text + (f"; attempts: {', '.join(found)}." if found else ".")
