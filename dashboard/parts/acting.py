"""Doing what somebody pressed a button for, once, however often it was pressed; and saying how that went.

A button's callback notes what is wanted, with the number of the screen that the button stood on. The next run of the
script does it, and counts on: a second press on the same screen finds its number used up.
"""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st

from dashboard.actions.commands import Outcome
from dashboard.actions.new_run import NewRun
from dashboard.parts.live import DIALOG_KEY
from dashboard.parts.messages import plain
from dashboard.parts.page import Page, open_run

SCREEN_KEY = "acting_screen"
WANTED_KEY = "acting_wanted"
OUTCOME_KEY = "acting_outcome"
GO_TO_KEY = "acting_go_to"
STARTED_KEY = "acting_started"
NEWS_KEY = "acting_news"


class Act(NamedTuple):
    """Something to be done.

    Args:
        screen: the number of the screen that it was asked for on: see `screen`.
        doing: what to say meanwhile.
        new_run: to be started; or
        stop, resume: a run's id; or
        remove: runs' ids.
        max_cost_usd: another budget for `resume`.
    """

    screen: int
    doing: str
    new_run: NewRun | None = None
    stop: str = ""
    resume: str = ""
    remove: tuple[str, ...] = ()
    max_cost_usd: float | None = None


def screen() -> int:
    """The number of this screen: it grows with everything that is done."""
    return int(st.session_state.get(SCREEN_KEY, 0))


def want(act: Act) -> None:
    """Have something done by the next run of the script: for callbacks of buttons. Closes a dialog."""
    st.session_state[WANTED_KEY] = act
    close_dialog()


def open_dialog() -> None:
    """For whoever opens a dialog: pages stay as they are meanwhile."""
    st.session_state[DIALOG_KEY] = True


def close_dialog() -> None:
    """For callbacks of dialogs."""
    st.session_state[DIALOG_KEY] = False


def carry_out(page: Page) -> None:
    """Do what was asked for, and show what became of the last thing that was. Begins a page.

    Ends this run of the script where a run was started: its curves are shown instead.
    """
    act = st.session_state.get(WANTED_KEY)
    if isinstance(act, Act):
        if act.screen == screen():
            with st.spinner(act.doing, show_time=True):
                _do(page, act)
        else:
            _pressed_again(act)
    _go()
    _show_outcome()


def _pressed_again(act: Act) -> None:
    """Nothing is done twice. But the press named the old page, and so brought the browser back to it."""
    st.session_state.pop(WANTED_KEY, None)
    on_screen, run_id = st.session_state.get(STARTED_KEY, (-1, ""))
    if on_screen == act.screen:
        st.session_state[GO_TO_KEY] = run_id


def _do(page: Page, act: Act) -> None:
    # No call of Streamlit's between these lines: it could end the script there, the act half noted.
    st.session_state.pop(WANTED_KEY, None)
    st.session_state[SCREEN_KEY] = act.screen + 1
    st.session_state.pop(OUTCOME_KEY, None)
    commands = page.commands
    if act.new_run is not None:
        outcome = commands.start(act.new_run)
    elif act.resume:
        outcome = commands.resume(act.resume, max_cost_usd=act.max_cost_usd)
    elif act.stop:
        outcome = commands.stop(act.stop)
    else:
        outcome = _remove(page, act.remove)
    st.session_state[OUTCOME_KEY] = outcome
    if not outcome.error and outcome.run_id:
        st.session_state[STARTED_KEY] = act.screen, outcome.run_id
        st.session_state[GO_TO_KEY] = outcome.run_id


def _remove(page: Page, run_ids: tuple[str, ...]) -> Outcome:
    outcomes = []
    for run_id in run_ids:
        outcomes.append(page.commands.remove(run_id))
        if outcomes[-1].error:
            break
    last = outcomes[-1]
    return last._replace(text="\n".join(outcome.text for outcome in outcomes))


def _go() -> None:
    run_id = st.session_state.get(GO_TO_KEY)
    if run_id:
        del st.session_state[GO_TO_KEY]
        st.session_state.pop(OUTCOME_KEY, None)
        st.session_state[NEWS_KEY] = f"{run_id} is running."
        open_run(run_id)


def show_news() -> None:
    """What was done by the page before this one: its own toasts went with it. For the frame of all pages."""
    news = st.session_state.pop(NEWS_KEY, "")
    if news:
        st.toast(plain(news), icon=":material/play_arrow:")


def _show_outcome() -> None:
    outcome = st.session_state.get(OUTCOME_KEY)
    if not isinstance(outcome, Outcome):
        return
    if not outcome.error:
        st.session_state.pop(OUTCOME_KEY, None)
        st.toast(plain(outcome.text or "Done."), icon=":material/check:")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        show_problem(outcome.error)
        st.button("Dismiss", key="acting_dismiss", icon=":material/close:", type="tertiary", on_click=_dismiss)


def _dismiss() -> None:
    st.session_state.pop(OUTCOME_KEY, None)


def show_problem(error: str) -> None:
    """A command's numbered error: what went wrong in bold, and below it what to do."""
    head, _, advice = error.partition("\n")
    st.error(f"**{plain(head)}**\n\n{plain(advice)}", icon=":material/error:")
