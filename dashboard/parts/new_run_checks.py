"""What could keep a run from starting: the home is taken, or `lambdafit doctor` finds something to mend."""

from __future__ import annotations

import time
from collections.abc import Sequence

import streamlit as st

from contracts.errors import LambdafitError
from dashboard.actions.commands import Outcome
from dashboard.parts import acting
from dashboard.parts.messages import plain, show_hint
from dashboard.parts.page import Page, open_run
from dashboard.views.new_run import Check, checks_of
from runs import words

CHECKS_KEY = "new_run_checks"
GOOD_FOR_S = 60.0
MARKS = {"ok": ":material/check:", "note": ":material/info:", "bad": ":material/error:"}


def show_busy(opened: Page) -> bool:
    """Say which run keeps the home, with a way to it. Returns whether one does; a stack takes many."""
    if opened.options.is_cloud:
        return False
    try:
        listed = opened.collector.runs()
    except LambdafitError:
        return False  # starting says why
    run = next((run for run in listed.runs if run.run_id in listed.conducted), None)
    if run is None:
        return False
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(
            f":material/hourglass_top: **{plain(run.run_id)}** ({plain(words.recipe(run))}) is being trained in this "
            "home, which takes one run at a time: wait, or stop it.",
            width="stretch",
        )
        if st.button("Open it", key="new_run_open_busy", icon=":material/show_chart:"):
            open_run(run.run_id)
        st.button(
            "Stop it",
            key="new_run_stop_busy",
            icon=":material/stop:",
            disabled=opened.options.read_only,
            help="Its checkpoint stays: it can be resumed.",
            on_click=acting.want,
            args=(acting.Act(acting.screen(), "Stopping …", stop=run.run_id),),
        )
    return True


def show_checks(opened: Page) -> None:
    """Check the place when somebody asks for it: this takes seconds, because TensorFlow is loaded for it."""
    place = "stack" if opened.options.is_cloud else "machine"
    asked = st.button(f"Check this {place}", key="new_run_check", icon=":material/stethoscope:", type="tertiary")
    checked_at, outcome = st.session_state.get(CHECKS_KEY, (0.0, None))
    is_old = not 0 <= opened.now - checked_at < GOOD_FOR_S
    if asked and (is_old or outcome is None or _has_troubles(outcome)):
        with st.status(f"Checking this {place} …"):
            outcome = opened.commands.doctor()
            st.session_state[CHECKS_KEY] = time.time(), outcome
    elif is_old and not asked:
        return
    if isinstance(outcome, Outcome):
        if outcome.error:
            acting.show_problem(outcome.error)
        _show(checks_of(outcome.answer))


def _has_troubles(outcome: Outcome) -> bool:
    return bool(outcome.error) or any(check.state != "ok" for check in checks_of(outcome.answer))


def _show(checks: Sequence[Check]) -> None:
    for check in checks:
        if check.state == "ok":
            continue
        show = st.error if check.state == "bad" else st.warning
        show(f"**{plain(check.name)}**: {plain(check.found)}\n\n{plain(check.fix)}", icon=MARKS[check.state])
    well = [check for check in checks if check.state == "ok"]
    if well:
        with st.expander(f"{words.count(len(well), 'check')} passed", icon=MARKS["ok"]):
            for check in well:
                show_hint(f"{check.name}: {check.found}")
