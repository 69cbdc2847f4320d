"""The colours of the charts, light and dark, and the layout that all charts share.

The eight series colours were searched for: every one has a contrast of 3:1 or more against its background, and every
two stay apart for people with protanopia, deuteranopia and tritanopia (a test computes both).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from runs.summary import IDLE, SPAN_ORDER

FONT = '"Source Sans", "Source Sans 3", "Segoe UI", Roboto, Helvetica, Arial, sans-serif'
PHASES: tuple[str, ...] = (*SPAN_ORDER, IDLE)
"""Names of spans in the order in which they happen, and `idle` last."""


class Theme(NamedTuple):
    """Colours as `#rrggbb` or `rgba(…)`.

    Args:
        text, muted: words, and words of less weight (both readable as text).
        grid: lines behind the data.
        background: of the page; the charts themselves are transparent.
        band: the area between two percentiles.
        accent: marks and what is chosen.
        series: eight colours to tell lines apart.
    """

    name: str
    text: str
    muted: str
    grid: str
    background: str
    band: str
    accent: str
    series: tuple[str, ...]


LIGHT = Theme(
    name="light",
    text="#1c2430",
    muted="#5b6675",
    grid="#e3e7ec",
    background="#ffffff",
    band="rgba(0, 114, 178, 0.18)",
    accent="#0b6bcb",
    series=("#0072b2", "#a38739", "#00580f", "#c11972", "#37303d", "#5c8ff4", "#2410e6", "#72137a"),
)
DARK = Theme(
    name="dark",
    text="#e6ebf1",
    muted="#9ba7b6",
    grid="#2a3441",
    background="#11161d",
    band="rgba(86, 180, 233, 0.22)",
    accent="#5aa9f5",
    series=("#56b4e9", "#b38b00", "#00806e", "#ffc694", "#ebff26", "#c93426", "#864ae3", "#afffff"),
)

_PHASES_LIGHT = {
    # getting ready: purples and ambers
    "init": "#6b127e",
    "prepare": "#8c5aa8",
    "extract": "#4f5fb8",
    "build": "#a06fc4",
    "load": "#a38739",
    "assign": "#7d6220",
    # work: the strongest
    "evaluate": "#c11972",
    "compute": "#0072b2",
    # hand-over between workers: greens
    "write": "#005e23",
    "combine": "#178a55",
    # waiting: greys, and nothing at all the faintest
    "wait": "#8b929c",
    "clear": "#5b6675",
    IDLE: "#dfe3e8",
}
_PHASES_DARK = {
    "init": "#b56bd6",
    "prepare": "#9a72c7",
    "extract": "#8f9df5",
    "build": "#c9a2e6",
    "load": "#d0a92e",
    "assign": "#a8862a",
    "evaluate": "#f06bb0",
    "compute": "#56b4e9",
    "write": "#2f9e6a",
    "combine": "#6fd3a0",
    "wait": "#7d8794",
    "clear": "#9ba7b6",
    IDLE: "#2a323d",
}


def phase_color(phase: str, theme: Theme) -> str:
    """The colour of a phase of a worker's time; one that is not known is drawn as `muted`."""
    colors = _PHASES_DARK if theme.name == DARK.name else _PHASES_LIGHT
    return colors.get(phase, theme.muted)


def base_layout(theme: Theme, *, x_title: str, y_title: str, **more: Any) -> dict[str, Any]:
    """The layout that all charts share: fonts, margins, grid, hover, legend.

    Args:
        more: entries of the layout that go on top; dictionaries are merged (`yaxis={"type": "log"}` keeps the grid).
    """
    layout: dict[str, Any] = {
        "autosize": True,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 13, "color": theme.text},
        "margin": {"l": 56, "r": 16, "t": 28, "b": 44},
        "colorway": list(theme.series),
        "hovermode": "x unified",
        "hoverlabel": {
            "bgcolor": theme.background,
            "bordercolor": theme.grid,
            "font": {"family": FONT, "size": 13, "color": theme.text},
            "namelength": -1,
        },
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1,
            "yanchor": "bottom",
            "font": {"color": theme.text},
            "bgcolor": "rgba(0,0,0,0)",
        },
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": theme.muted, "activecolor": theme.accent},
        "separators": ".,",
        "xaxis": axis(theme, x_title),
        "yaxis": axis(theme, y_title),
    }
    return _merged(layout, more)


def axis(theme: Theme, title: str) -> dict[str, Any]:
    """An axis as all charts have it; for a second one, too."""
    return {
        "title": {"text": title, "font": {"color": theme.muted}, "standoff": 8},
        "gridcolor": theme.grid,
        "linecolor": theme.grid,
        "zeroline": False,
        "tickfont": {"color": theme.muted},
        "automargin": True,
    }


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for name, value in above.items():
        both = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[name] = _merged(result[name], value) if both else value
    return result
