"""Curves of several runs over each other, drawn. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dashboard.figures.figure import Figure
from dashboard.figures.sampling import thin
from dashboard.figures.theme import Theme, base_layout
from dashboard.views.compare import Along, RunCurve, Shown
from runs.words import number

MOST_POINTS = 1_000
DASHES = ("solid", "dash", "dot", "dashdot")
"""Beside the colour, so that runs can be told apart without it."""

NAMES: dict[Shown, str] = {
    "val/accuracy": "validation accuracy",
    "val/loss": "validation loss",
    "train/loss": "training loss",
}
TITLES: dict[Along, str] = {"epoch": "epoch", "time": "seconds since the start", "cost": "spent, USD"}


def compare_figure(
    curves: Sequence[RunCurve], shown: Shown, along: Along, theme: Theme, *, target: float | None = None
) -> Figure:
    """One measure of all runs.

    Args:
        target: an accuracy to mark; only beside accuracies.
    """
    traces = []
    for place, curve in enumerate(curves):
        picked = thin(curve.x, curve.values, MOST_POINTS)
        style = {"color": theme.series[place % len(theme.series)], "width": 2, "dash": DASHES[place % len(DASHES)]}
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(picked) <= 60 else "lines",
                "name": curve.name,
                "x": curve.x[picked],
                "y": curve.values[picked],
                "customdata": curve.rounds[picked],
                "line": style,
                "marker": {"size": 5},
                "hovertemplate": "%{y:.4f} after round %{customdata}",
            }
        )
    xaxis = {"tickprefix": "$"} if along == "cost" else {}
    layout = base_layout(theme, x_title=TITLES[along], y_title=NAMES[shown], xaxis=xaxis)
    if target is not None and shown == "val/accuracy":
        layout |= _target(target, theme)
    drawn = sum(len(trace["x"]) for trace in traces)
    points = sum(len(curve.x) for curve in curves)
    return Figure(traces, layout, describe(curves, shown, along), drawn, points, lambda: _table(curves, shown, along))


def describe(curves: Sequence[RunCurve], shown: Shown, along: Along) -> str:
    """Where each run stands, with figures."""
    parts = [
        f"{curve.run_id} ends with {number(float(curve.values[-1]))} at {float(curve.x[-1]):.4g}"
        if len(curve.x)
        else f"{curve.run_id} has none yet"
        for curve in curves
    ]
    return f"{NAMES[shown].capitalize()} by {TITLES[along]}: {'; '.join(parts)}."


def _target(target: float, theme: Theme) -> dict[str, Any]:
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": target, "y1": target}
    words = {"text": f"{target:.4g}", "xref": "paper", "x": 1, "y": target, "font": {"color": theme.muted}}
    return {
        "shapes": [{**line, "line": {"color": theme.muted, "width": 1, "dash": "dash"}}],
        "annotations": [{**words, "xanchor": "right", "yanchor": "bottom", "showarrow": False}],
    }


def _table(curves: Sequence[RunCurve], shown: Shown, along: Along) -> dict[str, Any]:
    """A row a point, one run below the other."""
    return {
        "run": [curve.run_id for curve in curves for _ in curve.x],
        "round": np.concatenate([curve.rounds for curve in curves]) if curves else [],
        TITLES[along]: np.concatenate([curve.x for curve in curves]) if curves else [],
        NAMES[shown]: np.concatenate([curve.values for curve in curves]) if curves else [],
    }
