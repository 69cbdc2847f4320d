"""Questions before something is done to runs that cannot be undone, or that costs."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard.parts import acting
from dashboard.parts.messages import plain
from dashboard.parts.page import Page
from dashboard.views.runs import RunRow
from runs import words

SHOWN_RUNS = 8
BUDGET_KEY = "runs_resume_budget"


@st.dialog("Remove for good?", on_dismiss=acting.close_dialog)
def ask_to_remove(rows: Sequence[RunRow]) -> None:
    """Whether these runs are to go, with files and logs."""
    st.write(f"{words.count(len(rows), 'run')} with parameters, checkpoints, logs and records:")
    listed = [f"- {plain(row.run_id)}  {plain(row.recipe)}, {row.status}" for row in rows[:SHOWN_RUNS]]
    more = [f"- and {len(rows) - SHOWN_RUNS:,} more"] if len(rows) > SHOWN_RUNS else []
    st.markdown("\n".join(listed + more))
    act = acting.Act(acting.screen(), "Removing …", remove=tuple(row.run_id for row in rows))
    _show_buttons("Remove", act, "runs_remove")


@st.dialog("Let it go on?", on_dismiss=acting.close_dialog)
def ask_to_resume(opened: Page, row: RunRow) -> None:
    """Whether a run is to go on, and with which budget."""
    st.write(f"{plain(row.run_id)} ({plain(row.recipe)}) goes on from its checkpoint, round {row.round_text}.")
    if opened.options.is_cloud:
        st.write(f"It trains in the {plain(opened.collector.source.name)} and costs money there.")
    st.number_input(
        "Another budget, $",
        min_value=0.01,
        value=None,
        placeholder="as before",
        key=BUDGET_KEY,
        help=f"What is spent included: {words.usd(row.cost_usd)}.",
    )
    _show_buttons("Resume", acting.Act(acting.screen(), "Resuming …", resume=row.run_id), "runs_resume")


def _show_buttons(label: str, act: acting.Act, key: str) -> None:
    with st.container(horizontal=True):
        done = st.button(label, key=f"{key}_confirmed", type="primary", on_click=_confirmed, args=(act,))
        left = st.button("Cancel", key=f"{key}_cancelled", on_click=acting.close_dialog)
    if done or left:
        st.rerun()


def _confirmed(act: acting.Act) -> None:
    # The budget as it is now: the button may have been pressed while it was still being typed.
    acting.want(act._replace(max_cost_usd=st.session_state.get(BUDGET_KEY)) if act.resume else act)
