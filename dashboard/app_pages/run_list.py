"""The page Runs: the newest and the open ones as cards, all of them as a table to search, compare and clear up."""

from __future__ import annotations

import streamlit as st

from contracts.errors import LambdafitError
from contracts.records import Run
from dashboard.actions.new_run import DEMO
from dashboard.parts import acting
from dashboard.parts.messages import plain, show_error, show_hint
from dashboard.parts.page import Page, go_to, open_run, page
from dashboard.parts.run_cards import show_cards
from dashboard.parts.run_dialogs import ask_to_remove, ask_to_resume
from dashboard.parts.runs_table import chosen_ids, show_table, taken_row
from dashboard.queries.round_curves import RoundCurve
from dashboard.views import runs as view

TEXT_KEY = "runs_text"
STATUS_KEY = "runs_status"
TABLE_CURVES, STACK_CURVES = 50, view.MAX_CARDS
"""So many lines of the table have a curve: each takes a look into the store."""


def show() -> None:
    """The page."""
    opened = page()
    if opened is None:
        return
    run_id = taken_row()
    if run_id:
        open_run(run_id)
    acting.carry_out(opened)
    try:
        listed = opened.collector.runs()
        if not listed.runs:
            _show_first_screen(opened)
            return
        _show_runs(opened, view.run_rows(listed, opened.now), {run.run_id: run for run in listed.runs})
    except LambdafitError as error:
        show_error(error, again=True)


def _show_first_screen(opened: Page) -> None:
    """There is no run at all."""
    command = opened.commands.command_line(DEMO)
    with st.container(border=True):
        st.subheader("No runs yet", anchor=False)
        st.write(
            "Train a first one: a small network that learns to read handwritten digits, on four workers. "
            + (
                f"It trains in the {plain(opened.collector.source.name)}, which costs about a cent and a half."
                if opened.options.is_cloud
                else "It takes about a quarter of a minute on this machine and costs nothing."
            )
        )
        reason = "The dashboard was started with --read-only." if opened.options.read_only else None
        with st.container(horizontal=True):
            st.button(
                "Train the demo",
                key="runs_demo",
                type="primary",
                icon=":material/play_arrow:",
                disabled=opened.options.read_only,
                help=reason,
                on_click=acting.want,
                args=(acting.Act(acting.screen(), "Starting the demo …", new_run=DEMO),),
            )
            if st.button("Another run", key="runs_other", icon=":material/add_circle:"):
                go_to("new_run")
        show_hint("The same in a terminal:")
        st.code(command, language="bash", wrap_lines=True)


def _show_runs(opened: Page, rows: list[view.RunRow], runs: dict[str, Run]) -> None:
    cards = view.cards(rows)
    curves = opened.collector.curves([runs[row.run_id] for row in cards])
    show_cards(opened, cards, curves)
    found = _search(rows)
    ids = chosen_ids([row.run_id for row in rows])
    _show_actions(opened, [row for row in rows if row.run_id in ids])
    if not found:
        show_hint("No run fits: change the search, or the statuses.")
        return
    with_curve = found[: STACK_CURVES if opened.options.is_cloud else TABLE_CURVES]
    more: dict[str, RoundCurve] = opened.collector.curves([runs[row.run_id] for row in with_curve])
    show_table(found, curves | more, ids)
    if len(found) > len(with_curve):
        show_hint(f"Curves are drawn for the newest {len(with_curve)} of {len(found):,} runs.")


def _search(rows: list[view.RunRow]) -> list[view.RunRow]:
    counts = view.statuses_of(rows)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input(
            "Search",
            key=TEXT_KEY,
            placeholder="recipe, run id, data set, error …",
            icon=":material/search:",
            live=True,
            width=320,
        )
        statuses = st.pills(
            "Status",
            list(counts),
            selection_mode="multi",
            key=STATUS_KEY,
            format_func=lambda status: f"{status} ({counts.get(status, 0):,})",
        )
    return view.filtered(rows, text or "", statuses)


def _show_actions(opened: Page, ticked: list[view.RunRow]) -> None:
    """What can be done with the ticked runs."""
    if not ticked:
        show_hint("Tick runs to compare, resume or remove them; Open shows one's curves.")
        return
    count = len(ticked)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(
            f"Compare {count} runs" if count > 1 else "Compare: tick another one",
            key="runs_compare",
            type="primary",
            icon=":material/compare_arrows:",
            disabled=count < 2,
        ):
            go_to("compare")
        _show_changes(opened, ticked)


def _show_changes(opened: Page, ticked: list[view.RunRow]) -> None:
    read_only = opened.options.read_only
    reason = "The dashboard was started with --read-only." if read_only else None
    resumable = len(ticked) == 1 and ticked[0].can_resume
    if st.button(
        "Resume",
        key="runs_resume",
        icon=":material/resume:",
        disabled=read_only or not resumable,
        help=reason or "One run that was stopped, interrupted, or failed goes on from its checkpoint.",
    ):
        acting.open_dialog()
        ask_to_resume(opened, ticked[0])
    removable = all(row.can_remove for row in ticked)
    if st.button(
        "Remove" if len(ticked) == 1 else f"Remove {len(ticked)} runs",
        key="runs_remove",
        icon=":material/delete:",
        disabled=read_only or not removable,
        help=reason or (None if removable else "One of them is being trained: stop it first."),
    ):
        acting.open_dialog()
        ask_to_remove(ticked)


show()
