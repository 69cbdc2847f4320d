"""The line over every page, as a component that counts the seconds by itself."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.chart.plotly_chart import scripts_ahead
from dashboard.views.header import Facts

HERE = Path(__file__).parent
_strip = st.components.v2.component(
    "lambdafit_run_strip",
    html='<div class="run-strip" role="group" aria-label="The run"></div>',
    css=(HERE / "run_strip.css").read_text(encoding="utf-8"),
    js=(HERE / "run_strip.js").read_text(encoding="utf-8"),
    isolate_styles=False,
)


def run_strip(facts: Facts, *, paused: bool, draws: bool) -> None:
    """Show the line.

    Args:
        paused: whether the page has stopped looking for news.
        draws: whether charts will follow: their scripts are then fetched while the rest of the page is put together.
    """
    ahead = scripts_ahead() if draws else {}
    _strip(key="run_strip", data=facts._asdict() | {"paused": paused, "ahead": ahead}, height="content")
