"""Runs as cards: status, figures and a little curve of the training loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import streamlit as st

from dashboard.parts import tick
from dashboard.parts.messages import plain
from dashboard.parts.page import Page, open_run
from dashboard.queries.round_curves import RoundCurve
from dashboard.views import runs as view
from runs import words

CARDS_A_LINE = 4
Color = Literal["blue", "orange", "gray", "green", "red"]
LOOKS: dict[str, tuple[str, Color]] = {
    "running": (":material/play_circle:", "blue"),
    "interrupted": (":material/pause_circle:", "orange"),
    "not started": (":material/schedule:", "gray"),
    "finished": (":material/check_circle:", "green"),
    "failed": (":material/error:", "red"),
    "stopped": (":material/stop_circle:", "gray"),
}
"""A status' icon and colour, beside its word."""


def show_cards(opened: Page, rows: Sequence[view.RunRow], curves: Mapping[str, RoundCurve]) -> None:
    """The cards, side by side.

    Args:
        curves: run id → training loss by round.
    """
    for start in range(0, len(rows), CARDS_A_LINE):
        for row, column in zip(rows[start : start + CARDS_A_LINE], st.columns(CARDS_A_LINE), strict=False):
            with column, st.container(border=True, height="stretch", key=f"runs_card_{row.run_id}"):
                _show_card(opened, row, curves.get(row.run_id, RoundCurve()))


def _show_card(opened: Page, row: view.RunRow, curve: RoundCurve) -> None:
    icon, color = LOOKS[row.status]
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", gap="small"):
        st.markdown(f"**{plain(row.recipe)}**", width="content")
        st.badge(row.status, icon=icon, color=color)
    losses = view.spark(curve)
    st.metric(
        "train loss",
        words.maybe(row.loss),
        chart_data=losses if len(losses) > 1 else None,
        chart_type="line",
        help="Of the newest round; the curve is over all rounds.",
    )
    if row.status == "running" and row.share is not None:
        st.progress(row.share, f"round {row.round_text}")
    st.caption(plain(_figures(opened, row, curve)))
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Open", key=f"runs_open_{row.run_id}", icon=":material/show_chart:"):
            open_run(row.run_id)
        key = f"runs_tick_{row.run_id}"
        st.session_state[key] = tick.is_ticked(row.run_id)
        st.checkbox("Compare", key=key, on_change=tick.turn, args=(row.run_id,))


def _figures(opened: Page, row: view.RunRow, curve: RoundCurve) -> str:
    elapsed_s = view.attended_s(row, curve)
    parts = [
        row.run_id,
        words.count(row.workers, "worker"),
        f"round {row.round_text}" if row.status != "running" else "",
        f"accuracy {row.accuracy_text}" if row.accuracy is not None else "",
        words.duration(elapsed_s) if elapsed_s is not None else "",
        _cost(row, is_cloud=opened.options.is_cloud),
        view.when(row.created_at, opened.now),
        row.about if row.status == "failed" else "",
    ]
    return " · ".join(part for part in parts if part)


def _cost(row: view.RunRow, *, is_cloud: bool) -> str:
    """What it cost, or on this machine would have."""
    if not row.cost_usd:
        return ""
    return words.usd(row.cost_usd) if is_cloud else f"{words.usd(row.cost_usd)} on Lambda"
