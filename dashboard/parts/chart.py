"""A chart on a page: drawn live, with how many points it shows, its table and its data beneath."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import streamlit as st

from dashboard.chart.plotly_chart import chart_range as chart_range
from dashboard.chart.plotly_chart import plotly_chart
from dashboard.figures.figure import Figure, Table

MOST_TABLE_ROWS = 10_000
CSV_ROWS_AT_ONCE = 10_000


def chart(figure: Figure, *, key: str, height_px: int = 360, live_range: bool = False) -> tuple[float, float] | None:
    """Draws a figure; zoom and legend choices survive as long as the key stays.

    Beneath it: how many of how many points are shown, and a menu with "Show as table" and "Download the data".

    Args:
        live_range: whether the page draws more points when the user zooms in: it is run again then.

    Returns:
        With `live_range` the visible range of x in values of the axis (`date`: ms since 1970), None for all.
    """
    with st.container(gap=None):
        visible = plotly_chart(
            figure.data,
            figure.layout,
            alt=figure.alt,
            x_kind=figure.x_kind,
            key=key,
            height_px=height_px,
            live_range=live_range,
        )
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.caption(points_caption(figure.shown_points, figure.all_points), width="content")
            is_table = _menu(figure, key)
        if is_table:
            _show_table(figure.table(), key)
    return visible


def _menu(figure: Figure, key: str) -> bool:
    """What can be done with the data; whether the table is wanted."""
    with st.popover(":material/more_horiz:", type="tertiary", help="Table and data"):
        is_table = st.toggle("Show as table", key=f"{key}_table")
        st.download_button(
            "Download the data",
            data=lambda: csv_of(figure.table()),  # when it is clicked, not before
            file_name=f"{key}.csv",
            mime="text/csv",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
            key=f"{key}_download",
        )
    return is_table


def points_caption(shown: int, of_all: int) -> str:
    """`all 320 points`, `1,000 of 640,000 points`."""
    if shown >= of_all:
        return "1 point" if of_all == 1 else f"all {of_all:,} points" if of_all else "no points yet"
    return f"{shown:,} of {of_all:,} points"


def rows_of(table: Table) -> int:
    """How many rows a table has."""
    return max((len(column) for column in table.values()), default=0)


def csv_of(table: Table) -> bytes:
    """The table as CSV (UTF-8, comma, one line of names); what is unknown (NaN, None) is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.keys())
    for first in range(0, rows_of(table), CSV_ROWS_AT_ONCE):
        last = first + CSV_ROWS_AT_ONCE
        writer.writerows(zip(*(_cells(column[first:last]) for column in table.values()), strict=True))
    return text.getvalue().encode()


def _cells(column: Sequence[Any] | np.ndarray[Any, Any]) -> list[Any]:
    values = column.tolist() if isinstance(column, np.ndarray) else list(column)
    if isinstance(column, np.ndarray) and column.dtype == np.float32:
        # 0.1, not 0.10000000149011612: the shortest text that gives the same float32.
        values = [np.float32(value) for value in values]
    return ["" if value is None or value != value else value for value in values]


def _show_table(table: Table, key: str) -> None:
    count = rows_of(table)
    shown = {name: list(islice(column, MOST_TABLE_ROWS)) for name, column in table.items()}
    st.dataframe(shown, hide_index=True, key=f"{key}_rows", height=280)
    if count > MOST_TABLE_ROWS:
        st.caption(f"The first {MOST_TABLE_ROWS:,} of {count:,} rows. The download has all of them.")


__all__ = ["chart", "chart_range", "csv_of", "points_caption", "rows_of"]
