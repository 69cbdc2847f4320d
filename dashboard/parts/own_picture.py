"""A picture of one's own, and what the run's model sees in it."""

from __future__ import annotations

import hashlib

import streamlit as st

from contracts.records import Run
from dashboard.actions.picture import MAX_MEGABYTES, SUFFIXES, Seen, look_at
from dashboard.figures.sample_cards import SHOWN_PX, own_picture, top_three
from dashboard.figures.theme import Theme
from dashboard.parts.messages import plain, show_hint
from dashboard.parts.page import Page
from dashboard.queries.run_data import RunSnapshot
from dashboard.views.predictions import image_shape, newest_parameters_round
from runs.words import number

SEEN_KEY = "predictions_seen"
MOST_KEPT = 20


def show_own_picture(page: Page, snapshot: RunSnapshot) -> None:
    """Take a picture, have the model look at it, and show the likeliest classes."""
    shape = image_shape(snapshot.run.data_facts)
    if snapshot.run.data_facts and shape is None:
        return
    st.subheader("Your own picture", anchor=False)
    reason = why_not(page, snapshot)
    if reason:
        show_hint(reason)
    size = f" of {shape[1]}×{shape[0]} pixels" if shape else ""
    file = st.file_uploader(
        f"A picture{size}, at most {MAX_MEGABYTES} MB",
        type=list(SUFFIXES),
        key="predictions_picture",
        max_upload_size=MAX_MEGABYTES,
        disabled=bool(reason),
    )
    if file is not None and not reason:
        _show_answer(page, snapshot.run, file.name, file.getvalue())


def why_not(page: Page, snapshot: RunSnapshot) -> str:
    """Why the model cannot be asked; empty where it can."""
    if page.options.read_only and page.options.is_cloud:
        return "Switched off: a prediction calls a function on AWS, and the dashboard was started with --read-only."
    if not snapshot.run.parameters:
        return "The run has no parameters yet: a model can be asked once its training has begun."
    return ""


def _show_answer(page: Page, run: Run, name: str, data: bytes) -> None:
    """Asked once for each picture, and again when somebody wants to know of newer parameters."""
    kept: dict[tuple[str, str], Seen] = st.session_state.setdefault(SEEN_KEY, {})
    key = (run.run_id, hashlib.sha256(data).hexdigest())
    if key not in kept:
        with st.spinner("Asking the model: a function starts for it, which takes 5 to 15 s …"):
            # Kept before anything is drawn: news of the run may end this run of the script at any drawing.
            kept[key] = look_at(page.commands, run.run_id, name, data)
            while len(kept) > MOST_KEPT:
                del kept[next(iter(kept))]
    seen = kept[key]
    if seen.error:
        st.error(plain(seen.error), icon=":material/error:")
    else:
        _show_seen(name, data, seen, page.theme)
    newest = newest_parameters_round(run)
    if seen.error or seen.round_index != newest:
        label = "Try again" if seen.error else f"Ask again: there are parameters of round {newest:,}"
        st.button(label, key="predictions_again", icon=":material/refresh:", on_click=_forget, args=(kept, key))


def _forget(kept: dict[tuple[str, str], Seen], key: tuple[str, str]) -> None:
    kept.pop(key, None)


def _show_seen(name: str, data: bytes, seen: Seen, theme: Theme) -> None:
    left, right = st.columns([1, 3], vertical_alignment="center")
    picture = own_picture(name, data)
    if picture:
        left.html(picture)
    else:
        left.image(data, width=SHOWN_PX)
    with right:
        if seen.values:
            st.write("The model says " + ", ".join(number(value) for value in seen.values))
        else:
            st.html(top_three(seen.top, theme))
        show_hint(f"With the parameters after round {seen.round_index:,}. The same in a terminal: `{seen.shown}`")
