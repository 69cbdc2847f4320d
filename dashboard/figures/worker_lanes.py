"""What the pictures of lanes have in common: colours and words of phases, the axes, cuts and marks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dashboard.figures.theme import Theme, phase_color
from dashboard.views import phases
from dashboard.views.attended import Cut
from dashboard.views.phases import NAMES, UNREPORTED
from runs import words

MOST_CUTS = 12
LANE_PX = 16
AROUND_PX = 110
LEAST_PX, MOST_PX = 200, 620


def height_px(lanes: int, lane_px: int = LANE_PX) -> int:
    """Of a picture with so many lanes."""
    return max(LEAST_PX, min(MOST_PX, AROUND_PX + lane_px * lanes))


def color_of(code: int, theme: Theme) -> str:
    """The colour of a phase's code: one that nobody has reported yet is a faint accent."""
    name = NAMES[code]
    return _faint(theme.accent) if name == UNREPORTED else phase_color(name, theme)


def _faint(color: str) -> str:
    """`#rrggbb`, half transparent."""
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.5)"


def legend_entries(codes: Iterable[int], theme: Theme) -> list[dict[str, Any]]:
    """Traces without points, for a legend in words beside a picture that has none of its own."""
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [None],
            "y": [None],
            "name": phases.words_of(code),
            "marker": {"symbol": "square", "size": 10, "color": color_of(code, theme)},
            "hoverinfo": "skip",
            "showlegend": True,
        }
        for code in codes
    ]


def legend(theme: Theme) -> dict[str, Any]:
    """A legend above the picture, that cannot switch anything off."""
    return {
        "y": 1.01,
        "font": {"size": 11, "color": theme.text},
        "traceorder": "normal",
        "itemclick": False,
        "itemdoubleclick": False,
    }


def lane_axis(labels: Sequence[str]) -> dict[str, Any]:
    """One line a lane, the first one on top; only the time can be zoomed."""
    return {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": list(labels),
        "range": [len(labels) - 0.5, -0.5],
        "autorange": False,
        "fixedrange": True,
        "showgrid": False,
        "zeroline": False,
        "automargin": True,
    }


def lane_mark(lane: int, theme: Theme) -> dict[str, Any]:
    """A frame around one lane, over the whole width."""
    return {
        "type": "rect",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "yref": "y",
        "y0": lane - 0.5,
        "y1": lane + 0.5,
        "line": {"color": theme.accent, "width": 2},
    }


def cut_marks(cuts: Sequence[Cut], theme: Theme) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Lines and words where hours were left out: shapes and annotations, of the longest cuts."""
    longest = sorted(cuts, key=lambda cut: -cut.seconds)[:MOST_CUTS]
    line = {"color": theme.text, "width": 1, "dash": "dot"}
    shapes = [
        {"type": "line", "x0": c.at_s, "x1": c.at_s, "yref": "paper", "y0": 0, "y1": 1, "line": line} for c in longest
    ]
    notes = [
        {
            "x": cut.at_s,
            "yref": "paper",
            "y": 0,
            "yanchor": "bottom",
            "xanchor": "left",
            "text": f"{words.duration(cut.seconds)} left out",
            "showarrow": False,
            "font": {"size": 11, "color": theme.text},
            "bgcolor": theme.background,
        }
        for cut in longest
    ]
    return shapes, notes


def shares(seconds_by_phase: Sequence[float]) -> str:
    """`compute 61 %, wait for others 20 %`: the four largest parts of the workers' time."""
    whole = sum(seconds_by_phase)
    order = sorted(range(len(seconds_by_phase)), key=lambda code: -seconds_by_phase[code])
    found = [(code, seconds_by_phase[code] / whole) for code in order[:4] if whole > 0]
    return ", ".join(f"{phases.words_of(code)} {share:.0%}" for code, share in found if share >= 0.005)
