"""The bill line by line, what stays behind, and what the figures rest on."""

from __future__ import annotations

import streamlit as st

from dashboard.parts.messages import plain
from dashboard.views.cost import bill_columns, by_service, stays_columns
from runs.bill import Bill
from runs.idle import idle_cost
from runs.words import usd


def show_lines(bill: Bill, run_id: str) -> None:
    """Every line, and what the services come to."""
    st.subheader("The bill", anchor=False)
    services = ", ".join(f"{service} {usd(cost)}" for service, cost in by_service(bill.lines).items())
    count = f"{usd(bill.budget_usd)} of it are of the kind that the budget counts."
    st.caption(plain(f"{usd(bill.total_usd)} in all: {services}. {count}"))
    columns = {
        "amount": st.column_config.NumberColumn(format="%.6g"),
        "price ($)": st.column_config.NumberColumn(format="%.10f"),
        "cost ($)": st.column_config.NumberColumn(format="%.8f"),
        "in budget": st.column_config.CheckboxColumn(help="Whether the run's budget counts it."),
        "known from": st.column_config.TextColumn(
            help="A record is what functions reported; an estimate follows from it."
        ),
    }
    st.dataframe(bill_columns(bill.lines), column_config=columns, hide_index=True, key="cost_bill", height="content")
    st.code(f"lambdafit cost {run_id} --json", language="bash")


def show_what_stays(bill: Bill) -> None:
    """Of this run, and of a stack that nobody uses."""
    idle = idle_cost(architecture=bill.architecture, region=bill.region)
    kept_usd = sum(line.usd_per_month for line in bill.kept)
    with st.expander(plain(f"Afterwards: {usd(kept_usd)} a month for what this run leaves behind")):
        st.dataframe(stays_columns(bill.kept), hide_index=True, key="cost_kept")
    with st.expander(plain(f"A stack that nobody uses: {usd(idle.total_usd)} a month at most")):
        st.dataframe(bill_columns(idle.lines, briefly=True), hide_index=True, key="cost_idle")
        st.markdown("\n".join(f"- {plain(text)}" for text in idle.assumptions))


def show_assumptions(bill: Bill) -> None:
    """What was assumed, and the day of the prices."""
    with st.expander(f"Assumptions, and prices of {bill.price_date}"):
        st.markdown("\n".join(f"- {plain(text)}" for text in bill.assumptions))
