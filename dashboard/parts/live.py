"""How pages stay fresh: one fragment looks for news, and reruns the page when, and only when, there are some."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st

from contracts.errors import LambdafitError
from dashboard.parts.page import NEWEST, Page, run_name
from dashboard.queries.run_data import RunSnapshot

PAUSED_KEY = "paused"
DIALOG_KEY = "dialog_open"
"""Set by whoever opens a dialog: a rerun of the page would close it."""

SEEN_KEY = "seen"
JUST_DRAWN_KEY = "just_drawn"
RUNNING_S = 2.0
IDLE_S = 15.0
ENDED_S = 60.0
"""A run that has ended can still be removed or resumed."""


class Seen(NamedTuple):
    """What the page shows: news are what differs from it."""

    run_id: str
    revision: int
    runs_revision: int


def interval_s(snapshot: RunSnapshot | None, name: str, *, paused: bool) -> float | None:
    """How often to look for news; None for never.

    Args:
        name: as the run was chosen: one who chose the newest run may get another one.
    """
    if paused:
        return None
    if snapshot is not None and snapshot.conducted and not snapshot.run.ended:
        return RUNNING_S
    if snapshot is not None and snapshot.run.ended and name != NEWEST:
        return ENDED_S
    return IDLE_S


def watch(page: Page, snapshot: RunSnapshot | None, seen: Seen | None) -> None:
    """Look for news from now on. Shows nothing, so that nothing is sent where there are none.

    Args:
        seen: what `look` gave before the page was drawn: what has come since then may not be on it, and is news.
    """
    st.session_state[SEEN_KEY] = seen
    st.session_state[JUST_DRAWN_KEY] = True
    every_s = interval_s(snapshot, run_name(), paused=bool(st.session_state.get(PAUSED_KEY)))
    if every_s is not None:
        st.fragment(_look_for_news, run_every=every_s)(page)


def _look_for_news(page: Page) -> None:
    # The first call is a part of drawing the page: whoever draws slowly would do nothing else.
    if st.session_state.pop(JUST_DRAWN_KEY, False) or st.session_state.get(DIALOG_KEY):
        return
    if look(page) != st.session_state.get(SEEN_KEY):
        st.rerun(scope="app")


def look(page: Page) -> Seen | None:
    """What there is; None where nothing can be read: the page says why, and comes back by itself."""
    try:
        runs_revision = page.collector.runs().revision
        run_id = page.collector.find(run_name())
        return Seen(run_id, page.collector.look(run_id).revision, runs_revision)
    except LambdafitError:
        return None
