"""The chart as a Streamlit component, since `st.plotly_chart` makes a new node at every change and loses the zoom."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard.chart.message import Place, pack
from dashboard.chart.plotly_file import CHART_SCRIPT, FILE_NAME, chart_script_version, plotly_version

RANGE_STATE = "x_range"
_LOADER = Path(__file__).with_name("plotly_chart_loader.js")
_SOURCES_MARK = "[/* addresses */]"


def _addresses(file_name: str, version: str) -> tuple[str, ...]:
    """Where the browser may find a file: relative to the page (good behind a proxy, too), or by the base path.

    The version in the address lets the browser keep the file without asking again.
    """
    address = f"app/static/{file_name}?v={version}"
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return (address, f"/{base}/{address}" if base else f"/{address}")


def scripts_ahead() -> dict[str, str]:
    """What the browser may fetch before the first chart is there: address → how, as the `rel` of a link."""
    plotly, drawing = _addresses(FILE_NAME, plotly_version()), _addresses(CHART_SCRIPT.name, chart_script_version())
    return {plotly[0]: "preload", drawing[0]: "modulepreload"}


def _loader() -> str:
    sources = json.dumps(_addresses(CHART_SCRIPT.name, chart_script_version()))
    return _LOADER.read_text(encoding="utf-8").replace(_SOURCES_MARK, sources)


_draw = st.components.v2.component("lambdafit_plotly_chart", js=_loader(), isolate_styles=False)


def plotly_chart(
    data: Sequence[Mapping[str, Any]],
    layout: Mapping[str, Any],
    *,
    alt: str,
    x_kind: str,
    key: str,
    height_px: int,
    live_range: bool,
) -> tuple[float, float] | None:
    """Draws traces, or changes what is drawn under this key; nothing is drawn anew that is there already.

    Returns:
        The range of x that the user has zoomed to, in values of the axis (`date`: ms since 1970); None for all.
    """
    sources = _addresses(FILE_NAME, plotly_version())
    x_range = chart_range(key) if live_range else None
    place = Place(key, alt, x_kind, height_px, sources, live_range, x_range)
    result = _draw(key=key, data=pack(data, layout, place), on_x_range_change=_nothing)
    return _as_range(result.get(RANGE_STATE)) if live_range else None


def chart_range(key: str) -> tuple[float, float] | None:
    """The range that the chart of this key is zoomed to, also before it is drawn in this run of the script."""
    state = st.session_state.get(key)
    return _as_range(state.get(RANGE_STATE)) if isinstance(state, Mapping) else None


def _as_range(value: object) -> tuple[float, float] | None:
    match value:
        case [int() | float() as low, int() | float() as high]:
            return float(low), float(high)
    return None


def _nothing() -> None:
    """Streamlit keeps the state only of what has a callback."""
