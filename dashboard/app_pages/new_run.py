"""The page New run: a form, what it will take and cost, the command line for it, and Start."""

from __future__ import annotations

import streamlit as st

from contracts.errors import LambdafitError
from dashboard.actions.commands import Outcome
from dashboard.actions.new_run import NewRun
from dashboard.options import DEFAULT_STACK
from dashboard.parts import acting, new_run_estimate
from dashboard.parts.messages import plain, show_error, show_hint
from dashboard.parts.new_run_checks import show_busy, show_checks
from dashboard.parts.new_run_form import asked, show_form
from dashboard.parts.page import Page, page
from dashboard.views.new_run import Recipe, estimate_of, recipes_of

RECIPES_KEY = "new_run_recipes"
READ_ONLY = "The dashboard was started with --read-only: a run is started in a terminal."


def show() -> None:
    """The page."""
    opened = page()
    if opened is None:
        return
    acting.carry_out(opened)
    if opened.options.read_only:
        st.info(READ_ONLY, icon=":material/lock:")
    busy = show_busy(opened)
    form, panel = st.columns([3, 2], gap="large")
    with form:
        show_form(_recipes(opened), disabled=opened.options.read_only)
    with panel:
        _show_panel(opened, busy=busy)


def _recipes(opened: Page) -> list[Recipe]:
    """The built-in ones, asked for once a session."""
    outcome = st.session_state.get(RECIPES_KEY)
    if not isinstance(outcome, Outcome):
        with st.spinner("Looking for recipes …"):
            outcome = opened.commands.recipes()
            if not outcome.error:
                st.session_state[RECIPES_KEY] = outcome
    if outcome.error:
        acting.show_problem(outcome.error)
    return recipes_of(outcome.answer)


def _show_panel(opened: Page, *, busy: bool) -> None:
    """Beside the form: the command line, the estimate, Start."""
    new_run = asked()
    try:
        line = opened.commands.command_line(new_run)
    except LambdafitError as error:
        show_error(error)
        return
    st.markdown(f"Trains in the **{plain(opened.collector.source.name)}**. The same in a terminal:")
    st.code(line, language="bash", wrap_lines=True)
    with st.container(horizontal=True):
        if st.button("Estimate", key="new_run_estimate", icon=":material/calculate:"):
            new_run_estimate.ask(opened, new_run, line)
        _show_start(opened, new_run, line, busy=busy)
    new_run_estimate.show_estimate(line)
    show_checks(opened)


def _show_start(opened: Page, new_run: NewRun, line: str, *, busy: bool) -> None:
    is_cloud = opened.options.is_cloud
    read_only = opened.options.read_only
    reason = READ_ONLY if read_only else "One run at a time in a home." if busy else None
    pressed = st.button(
        "Start …" if is_cloud else "Start",
        key="new_run_start",
        type="primary",
        icon=":material/play_arrow:",
        disabled=read_only or busy,
        help=reason,
        on_click=None if is_cloud else _start,
        args=None if is_cloud else (acting.screen(),),
    )
    if pressed and is_cloud:
        outcome = new_run_estimate.kept(line) or new_run_estimate.ask(opened, new_run, line)
        if not outcome.error and outcome.answer is not None:
            acting.open_dialog()
            _confirm(opened, new_run, outcome)


def _start(screen: int) -> None:
    acting.want(acting.Act(screen, "Starting the run …", new_run=asked()))


@st.dialog("This costs money", on_dismiss=acting.close_dialog)
def _confirm(opened: Page, new_run: NewRun, outcome: Outcome) -> None:
    """Whether to start it in a stack."""
    found = estimate_of(outcome.answer or {})
    options = opened.options
    st.markdown(
        f"- **cost**: {plain(found.cost)}, {plain(found.on_lambda)}\n"
        f"- **budget**: {plain(found.budget)}\n"
        f"- **stack**: {plain(options.stack_name or DEFAULT_STACK)}\n"
        f"- **region**: {plain(opened.collector.source.region or options.region or 'as the AWS profile has it')}"
    )
    show_hint(found.prices)
    act = acting.Act(acting.screen(), "Starting the run: waking the functions …", new_run=new_run)
    with st.container(horizontal=True):
        done = st.button("Start there", key="new_run_confirmed", type="primary", on_click=acting.want, args=(act,))
        left = st.button("Cancel", key="new_run_cancelled", on_click=acting.close_dialog)
    if done or left:
        st.rerun()


show()
