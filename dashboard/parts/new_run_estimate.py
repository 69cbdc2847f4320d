"""What a new run will take and cost: asked of `lambdafit train --dry-run`, kept by command line."""

from __future__ import annotations

import streamlit as st

from dashboard.actions.commands import Outcome
from dashboard.actions.new_run import NewRun
from dashboard.parts.acting import show_problem
from dashboard.parts.messages import plain, show_hint
from dashboard.parts.page import Page
from dashboard.views.new_run import Estimate, estimate_of

KEPT_KEY = "new_run_estimates"
KEPT = 20


def kept(line: str) -> Outcome | None:
    """The estimate of this command line, if there was one."""
    found = st.session_state.get(KEPT_KEY, {}).get(line)
    return found if isinstance(found, Outcome) else None


def ask(opened: Page, new_run: NewRun, line: str) -> Outcome:
    """Estimate now. Takes seconds: the model is built for it, unless such a run was made before."""
    with st.spinner("Estimating …", show_time=True):
        outcome = opened.commands.dry_run(new_run)
        estimates = dict(st.session_state.get(KEPT_KEY, {})) | {line: outcome}
        st.session_state[KEPT_KEY] = dict(list(estimates.items())[-KEPT:])
    return outcome


def show_estimate(line: str) -> None:
    """The estimate of this command line, or why there is none."""
    outcome = kept(line)
    if outcome is None:
        others = bool(st.session_state.get(KEPT_KEY))
        show_hint(
            "The settings have changed since the last estimate."
            if others
            else "Estimate says what it will take and cost. Nothing is started."
        )
    elif outcome.error or outcome.answer is None:
        show_problem(outcome.error or "The estimate has no figures.\nTry again.")
    else:
        _show(estimate_of(outcome.answer))


def _show(found: Estimate) -> None:
    columns = st.columns(3)
    for column, label, value in zip(
        columns, ("On Lambda", "On this machine", "Cost on AWS"), (found.on_lambda, found.here, found.cost), strict=True
    ):
        column.markdown(f"{label}  \n**{plain(value)}**")
    if found.within_budget:
        show_hint(found.budget)
    else:
        st.warning(plain(found.budget), icon=":material/warning:")
    for note in found.notes:
        st.info(plain(note), icon=":material/info:")
    with st.expander("The bill, line by line"):
        st.dataframe(
            {
                "service": [line.service for line in found.lines],
                "what": [line.what for line in found.lines],
                "amount": [line.amount for line in found.lines],
                "cost": [line.usd for line in found.lines],
            },
            hide_index=True,
            column_config={"cost": st.column_config.NumberColumn(format="$%.6f")},
            key="new_run_bill",
            alt="The estimated bill, line by line",
        )
        show_hint(found.prices)
    with st.expander("Steps, files, assumptions"):
        st.markdown("\n".join(f"- **{what}**: {plain(much)}" for what, much in found.figures))
        for text in found.assumptions:
            show_hint(text)
