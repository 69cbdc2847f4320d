"""Which runs are ticked for comparing: in one place, whether a card or the table was clicked."""

from __future__ import annotations

import streamlit as st

COMPARE_KEY = "compare_runs"
"""Run ids, in the order in which they were ticked."""


def ticked() -> list[str]:
    """The ticked runs' ids."""
    return list(st.session_state.get(COMPARE_KEY, ()))


def is_ticked(run_id: str) -> bool:
    """Whether it is one of them."""
    return run_id in ticked()


def set_ticked(run_ids: list[str]) -> None:
    """Have just these ticked."""
    st.session_state[COMPARE_KEY] = run_ids


def turn(run_id: str) -> None:
    """Tick a run, or take its tick away."""
    others = [one for one in ticked() if one != run_id]
    set_ticked(others if is_ticked(run_id) else [*others, run_id])
