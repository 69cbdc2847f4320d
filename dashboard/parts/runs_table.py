"""The table of runs: sortable, with a tick and a button a line."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from dashboard.parts import tick
from dashboard.queries.round_curves import RoundCurve
from dashboard.views import runs as view
from dashboard.views.header import SIGNS

TABLE_KEY = "runs_table"
OPEN_KEY = "runs_table_open"
SHOWN_KEY = "runs_table_ids"
TAKEN_KEY = "runs_table_taken"
ROW_PX, MAX_ROWS = 35, 20


def chosen_ids(known: Collection[str]) -> list[str]:
    """The ticked runs that are still there."""
    left = [run_id for run_id in tick.ticked() if run_id in known]
    tick.set_ticked(left)
    return left


def taken_row() -> str:
    """The run whose button was pressed; empty if none was. Told once."""
    return str(st.session_state.pop(TAKEN_KEY, ""))


def show_table(rows: Sequence[view.RunRow], curves: Mapping[str, RoundCurve], ids: Collection[str]) -> None:
    """The table.

    Args:
        curves: of those runs that have one; run id → curve.
        ids: of the ticked runs.
    """
    columns = view.table(rows, curves)
    columns["status"] = [f"{SIGNS[row.status]} {row.status}" for row in rows]
    columns["created"] = [datetime.fromtimestamp(row.created_at, UTC) for row in rows]
    columns["open"] = ["Open"] * len(rows)
    shown = [row.run_id for row in rows]
    st.session_state[SHOWN_KEY] = shown
    # Ticks belong to runs, not to lines: a new run or another search moves the lines.
    lines = [line for line, run_id in enumerate(shown) if run_id in ids]
    st.session_state[TABLE_KEY] = {"selection": {"rows": lines, "columns": [], "cells": []}}
    st.dataframe(
        columns,
        key=TABLE_KEY,
        on_select=_selected,
        selection_mode="multi-row",
        hide_index=True,
        height=ROW_PX * (min(len(rows), MAX_ROWS) + 1) + 3,
        row_height=ROW_PX,
        column_config=_column_config(),
        placeholder="–",
        alt=f"Table of {len(rows):,} runs, newest first",
    )


def _column_config() -> dict[str, Any]:
    column = st.column_config
    return {
        "open": column.ButtonColumn("", on_click=_pressed, key=OPEN_KEY, type="tertiary", pinned=True),
        "workers": column.NumberColumn(format="localized"),
        "rounds": column.ProgressColumn("rounds done", format="%.0f %%", min_value=0, max_value=100),
        "train loss": column.NumberColumn(format="%.4f"),
        "curve": column.LineChartColumn("loss by round"),
        "accuracy": column.NumberColumn(format="percent", help="Of the test set, or as last validated."),
        "elapsed": column.NumberColumn("elapsed, s", format="%.1f", help="From its start to its end, breaks included."),
        "cost": column.NumberColumn(format="$%.4f", help="What its attempts cost on Lambda."),
        "created": column.DatetimeColumn("started", format="distance"),
    }


def _pressed() -> None:
    click = st.session_state.get(OPEN_KEY)
    shown = st.session_state.get(SHOWN_KEY, [])
    if click is not None and click["row"] < len(shown):
        st.session_state[TAKEN_KEY] = shown[click["row"]]


def _selected() -> None:
    shown = st.session_state.get(SHOWN_KEY, [])
    lines = st.session_state[TABLE_KEY]["selection"]["rows"]
    now = [shown[line] for line in lines if line < len(shown)]
    # Ticked runs that the search hides stay ticked.
    kept = [run_id for run_id in tick.ticked() if run_id not in shown or run_id in now]
    tick.set_ticked([*kept, *(run_id for run_id in now if run_id not in kept)])
