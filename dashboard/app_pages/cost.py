"""The page Cost: what a run costs on AWS, what its budget says, and what else could have done the work."""

from __future__ import annotations

import streamlit as st

from dashboard.figures.cost import machines_figure, spent_figure
from dashboard.parts.bill_tables import show_assumptions, show_lines, show_what_stays
from dashboard.parts.chart import chart
from dashboard.parts.messages import plain, show_hint
from dashboard.parts.page import Page, chosen_run
from dashboard.parts.page import page as this_page
from dashboard.queries.run_data import RunSnapshot
from dashboard.views.cost import Budget, Curve, Expected, amount, budget_of, curve, expected, headline, stored, totals
from dashboard.views.run_bill import run_bill
from runs.bill import Bill
from runs.words import usd

CHART_PX = 320


def show() -> None:
    """The page."""
    page = this_page()
    if page is None:
        return
    snapshot = chosen_run(page)
    if snapshot is not None:
        _show_cost(page, snapshot)


def _show_cost(page: Page, snapshot: RunSnapshot) -> None:
    bill = run_bill(snapshot, page.now)
    spent = curve(snapshot.rounds, snapshot.tasks_of(0))
    end = expected(snapshot.run, spent)
    _show_figures(bill, snapshot)
    _show_budget(budget_of(snapshot.run, snapshot.current_tasks, bill), end)
    left, right = st.columns(2)
    with left:
        _show_spent(spent, end, snapshot, page)
    with right:
        st.subheader("The same work on EC2", anchor=False)
        chart(machines_figure(bill, page.theme), key="cost_machines", height_px=CHART_PX)
    show_lines(bill, snapshot.run.run_id)
    show_what_stays(bill)
    show_assumptions(bill)


def _show_figures(bill: Bill, snapshot: RunSnapshot) -> None:
    words = headline(snapshot.run, is_cloud=snapshot.source.is_cloud)
    taken = totals(bill)
    with st.container(horizontal=True):
        st.metric(words.title, usd(bill.total_usd))
        st.metric("GB-seconds", amount(taken.gb_s), help="Memory × time of all functions.")
        st.metric("Requests", amount(taken.requests), help="Invocations of all functions.")
        st.metric("EFS read", f"{amount(taken.efs_read_gb)} GB")
        st.metric("EFS written", f"{amount(taken.efs_written_gb)} GB")
        st.metric("EFS stored", stored(taken.stored_gb_hours), help="While the run lasted.")
        st.metric("DynamoDB", f"{amount(taken.table_units)} units", help="Reads and writes.")
    prices = f"{bill.prices[0].upper()}{bill.prices[1:]}; {bill.architecture}."
    show_hint(f"{words.text} {prices} The line above the page counts only what the budget limits.")


def _show_budget(budget: Budget, end: Expected | None) -> None:
    text = f"Budget: {usd(budget.spent_usd)} spent"
    if budget.in_flight_usd:
        text += f" + {usd(budget.in_flight_usd)} by functions at work"
    text += f" of {usd(budget.max_cost_usd)}"
    st.progress(budget.share, text=plain(text))
    if budget.held_back_usd:
        show_hint(f"{usd(budget.held_back_usd)} are held back until the functions at work have ended.")
    if end is not None:
        cut = f" The budget ends the run in about round {end.budget_ends_at:,}." if end.budget_ends_at else ""
        show_hint(f"Estimate at the end: {usd(end.usd)} = {end.how}.{cut}")


def _show_spent(spent: Curve, end: Expected | None, snapshot: RunSnapshot, page: Page) -> None:
    st.subheader("Spent, by round", anchor=False)
    if not len(spent.round_index):
        show_hint("No round is done yet: the curve begins with the first one.")
        return
    most = snapshot.run.settings.max_cost_usd
    chart(spent_figure(spent, end, most, page.theme), key="cost_spent", height_px=CHART_PX)
    show_hint(f"What the budget of {usd(most)} counts: the lines of the bill that are marked so.")


show()
