"""What every page begins with: the place that is shown, and the run that is looked at."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import streamlit as st

from contracts.errors import InvalidRunId, LambdafitError, RunNotFound
from dashboard.actions.commands import Commands
from dashboard.figures.theme import DARK, LIGHT, Theme
from dashboard.options import Options, options_from
from dashboard.parts.messages import show_empty, show_error
from dashboard.queries.collector import Collector
from dashboard.queries.run_data import RunSnapshot
from dashboard.queries.source import open_source

NEWEST = "latest"
RUN_KEY = "run"
"""Of the run selector: its key in the session and in the address."""

NEXT_RUN_KEY = "next_run"
NEXT_PAGE_KEY = "next_page"
PAGES = Path(__file__).resolve().parents[1] / "app_pages"
CONVERGENCE = "convergence"
DEMO_COMMAND = "lambdafit train digits-mlp --workers 4"


class Page(NamedTuple):
    """What a page works with. `now` is the time at which this run of the script began, in seconds since 1970."""

    options: Options
    collector: Collector
    commands: Commands
    theme: Theme
    now: float


def page() -> Page | None:
    """The place that is shown; None after the page has said why it cannot be."""
    options = options_from(os.environ)
    try:
        collector = _collector(msgspec.json.encode(options).decode())
    except LambdafitError as error:
        show_error(error, again=True)
        return None
    theme = DARK if st.context.theme.type == "dark" else LIGHT
    return Page(options, collector, Commands(options), theme, time.time())


def chosen_run(page: Page) -> RunSnapshot | None:
    """The run that the page is to show; None after the page has said why there is none."""
    name = run_name()
    try:
        return page.collector.look(page.collector.find(name))
    except RunNotFound:
        if name == NEWEST:
            show_no_runs()
        else:
            place = page.collector.source.name
            advice = "It was removed, or never was here: choose another one above."
            show_error(RunNotFound(f"run {name}", f"it is not in {place}", advice=advice))
    except InvalidRunId as error:
        show_error(error)
    except LambdafitError as error:
        show_error(error, again=True)
    return None


def take_next_run() -> None:
    """Choose the run that `open_run` or `go_to` came with. Before the selector is drawn."""
    if NEXT_RUN_KEY in st.session_state:
        st.session_state[RUN_KEY] = st.session_state.pop(NEXT_RUN_KEY)


def run_name() -> str:
    """As the address or the selector names the run: an id, the beginning of one, or `latest`."""
    return str(st.session_state.get(RUN_KEY) or st.query_params.get(RUN_KEY) or NEWEST)


def open_run(run_id: str, on_page: str = CONVERGENCE) -> None:
    """Go to a page with that run. Ends this run of the script.

    Args:
        on_page: the name of a file in `app_pages`, without `.py`.
    """
    st.session_state[NEXT_RUN_KEY] = run_id
    go_to(on_page)


def go_to(name: str) -> None:
    """Go to a page, with the run that is chosen. Ends this run of the script.

    Args:
        name: of a file in `app_pages`, without `.py`.
    """
    st.session_state.setdefault(NEXT_RUN_KEY, run_name())
    # Without `query_params` Streamlit would refuse: it may not clear those that a selector is bound to.
    st.switch_page(PAGES / f"{name}.py", query_params={})


def show_no_runs() -> None:
    """There is no run at all."""
    show_empty("No runs yet", "Start one on the page New run, or in a terminal:", DEMO_COMMAND)


@st.cache_resource(show_spinner="Opening the run store …")
def _collector(options_json: str) -> Collector:
    """One collector a process and place, so that ten open pages read the store as often as one does."""
    options = msgspec.json.decode(options_json, type=Options)
    return Collector(open_source(options))
