"""Mean seconds by phase, stacked over rounds or workers. Pure."""

from __future__ import annotations

import numpy as np

from dashboard.figures.figure import Figure, Table
from dashboard.figures.theme import Theme, base_layout
from dashboard.figures.worker_lanes import color_of, legend, shares
from dashboard.views import phases
from dashboard.views.mean_phases import MeanPhases
from runs import words


def rounds_figure(means: MeanPhases, theme: Theme) -> Figure:
    """What a worker's time in each round went into, on the mean of all workers."""
    seconds = means.all_seconds.sum(axis=0)  # (rounds,)
    alt = (
        f"{words.count(len(seconds), 'round')}, {words.duration(float(seconds.mean()))} on the mean: "
        f"{shares(list(means.all_seconds.sum(axis=1)))}."
    )
    if means.rounds_a_column > 1:
        alt += f" Each column is the mean of {means.rounds_a_column} rounds."
    return _stacked(means, "round", "mean seconds of a worker", alt, theme)


def workers_figure(means: MeanPhases, theme: Theme) -> Figure:
    """What each worker's time went into, over the whole run."""
    alt = (
        f"{words.count(len(means.x), 'worker')} over {words.duration(float(means.all_seconds.sum(axis=0).max()))}: "
        f"{shares(list(means.all_seconds.sum(axis=1)))}."
    )
    return _stacked(means, "worker", "seconds", alt, theme)


def _stacked(means: MeanPhases, x_title: str, y_title: str, alt: str, theme: Theme) -> Figure:
    data = [
        {
            "type": "bar",
            "name": phases.words_of(code),
            "x": means.x,
            "y": means.seconds[code],
            "marker": {"color": color_of(code, theme), "line": {"width": 0}},
            "hovertemplate": f"{x_title} %{{x}}: {phases.words_of(code)} %{{y:.4~r}} s<extra></extra>",
        }
        for code in means.used
    ]
    layout = base_layout(
        theme,
        x_title=x_title,
        y_title=y_title,
        barmode="stack",
        bargap=0.1,
        legend=legend(theme),
        showlegend=True,
        hovermode="closest",
    )
    shown, every = len(means.x), len(means.all_x)

    def table() -> Table:
        columns = {phases.words_of(code): np.round(means.all_seconds[code], 6) for code in means.used}
        return {x_title: means.all_x, **columns}

    return Figure(data, layout, alt, shown, every, table)
