"""What stands over every page: the run selector, how the run stands, Live or Pause, Stop."""

from __future__ import annotations

import streamlit as st

from contracts.errors import LambdafitError
from contracts.records import Run
from dashboard.actions.commands import Outcome
from dashboard.parts.acting import close_dialog, open_dialog, show_problem
from dashboard.parts.live import PAUSED_KEY
from dashboard.parts.messages import plain
from dashboard.parts.page import NEWEST, RUN_KEY, Page, run_name
from dashboard.parts.run_strip import run_strip
from dashboard.queries.run_data import RunSnapshot
from dashboard.views.header import facts

STOP_KEY = "stop_outcome"


def show_header(page: Page, *, draws: bool = True) -> RunSnapshot | None:
    """The header. Returns the run that is looked at; None where there is none, which the pages explain.

    Args:
        draws: whether charts will follow.
    """
    snapshot = None
    with st.container(horizontal=True, vertical_alignment="center"):
        _selector(page)
        try:
            snapshot = page.collector.look(page.collector.find(run_name()))
        except LambdafitError:
            return None
        _pause(snapshot)
        _stop(page, snapshot)
    run_strip(facts(snapshot, page.now), paused=bool(st.session_state.get(PAUSED_KEY)), draws=draws)
    _say_how_stopping_went(snapshot.run)
    _problems(snapshot.run)
    return snapshot


def _selector(page: Page) -> None:
    try:
        runs = page.collector.runs()
    except LambdafitError:
        return
    st.selectbox(
        "Run",
        [NEWEST, *(run.run_id for run in runs.runs)],  # as they stand in the address: it would hold a label instead
        key=RUN_KEY,
        bind="query-params",
        accept_new_options=True,
        label_visibility="collapsed",
        width=240,
        help="Follows the latest run, or stays with one. The address bar holds the choice.",
    )


def _pause(snapshot: RunSnapshot) -> None:
    if snapshot.run.ended:
        return
    paused = bool(st.session_state.get(PAUSED_KEY))
    st.button(
        "Live" if paused else "Pause",
        key="pause",
        icon=":material/play_arrow:" if paused else ":material/pause:",
        shortcut="p",
        on_click=_toggle_pause,
        help="Stop and start looking for news. The run itself goes on.",
    )


def _toggle_pause() -> None:
    st.session_state[PAUSED_KEY] = not st.session_state.get(PAUSED_KEY)


def _stop(page: Page, snapshot: RunSnapshot) -> None:
    run = snapshot.run
    if run.ended:
        return
    reason = "The dashboard was started with --read-only." if page.options.read_only else "Its checkpoint stays."
    if st.button("Stop", key="stop", icon=":material/stop:", disabled=page.options.read_only, help=reason):
        open_dialog()
        _confirm_stop(page, run)


@st.dialog("Stop the run?", on_dismiss=close_dialog)
def _confirm_stop(page: Page, run: Run) -> None:
    st.write(f"{plain(run.run_id)} ends at once, and its last checkpoint stays. It can be resumed later.")
    with st.container(horizontal=True):
        st.button("Stop it", key="stop_confirmed", type="primary", on_click=_stop_now, args=(page, run.run_id))
        st.button("Keep it going", key="stop_cancelled", on_click=close_dialog)


def _stop_now(page: Page, run_id: str) -> None:
    st.session_state[STOP_KEY] = page.commands.stop(run_id)
    close_dialog()


def _say_how_stopping_went(run: Run) -> None:
    outcome = st.session_state.pop(STOP_KEY, None)
    if not isinstance(outcome, Outcome):
        return
    if outcome.error:
        show_problem(outcome.error)
    else:
        st.toast(f"{run.run_id} is stopped.", icon=":material/stop:")


def _problems(run: Run) -> None:
    """Why the run failed, and what to do."""
    if run.error is not None and run.status == "FAILED":
        st.error(
            f"**{run.error.number} {plain(run.error.message)}**\n\n{plain(run.error.advice)}", icon=":material/error:"
        )
    elif run.fingerprints_mixed:
        st.warning("Its workers ran on different kinds of processors: the same seed may give other bits next time.")
