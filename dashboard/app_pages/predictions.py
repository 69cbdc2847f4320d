"""The page Predictions: what the model sees in sample pictures, what it mistakes, and what it sees in one's own."""

from __future__ import annotations

import streamlit as st

from dashboard.figures.confusion import confusion_figure
from dashboard.figures.sample_cards import cards, picture_style
from dashboard.figures.theme import Theme
from dashboard.parts.chart import chart
from dashboard.parts.messages import plain, show_empty, show_hint
from dashboard.parts.own_picture import show_own_picture
from dashboard.parts.page import chosen_run
from dashboard.parts.page import page as this_page
from dashboard.queries.run_data import RunSnapshot
from dashboard.views.confusion import confusion
from dashboard.views.predictions import MOST_SHOWN, Checkpoint, Predictions, confusion_matrix, image_shape
from dashboard.views.recorded_predictions import recorded_predictions

NEWEST = "newest"
NOTHING = {
    "waiting": ("No predictions yet", "They come in with the first validation, which takes place after an epoch."),
    "regression": ("No predictions", "This run's model predicts numbers, not classes: there is nothing to sort."),
    "not recorded": ("No predictions", "This run recorded no samples: it was made by an older version."),
    "ended before": ("No predictions", "The run ended before its first validation."),
}


def show() -> None:
    """The page."""
    page = this_page()
    if page is None:
        return
    snapshot = chosen_run(page)
    if snapshot is None:
        return
    found = recorded_predictions(snapshot)
    if found.state == "shown":
        _show_found(found, snapshot, page.theme)
    else:
        show_empty(*NOTHING[found.state])
    show_own_picture(page, snapshot)


def _show_found(found: Predictions, snapshot: RunSnapshot, theme: Theme) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        checkpoint = _checkpoint(found)
        only_mistakes = st.toggle("Only mistakes", key="predictions_mistakes", bind="query-params")
    st.markdown(_summary(found, checkpoint))
    _show_samples(found, checkpoint, snapshot, theme, only_mistakes=only_mistakes)
    _show_confusion(found, checkpoint, theme)


def _checkpoint(found: Predictions) -> Checkpoint:
    """The one chosen. `newest` follows a run that goes on."""
    rounds = {f"round {one.parameters_round}": one.parameters_round for one in found.checkpoints}
    if len(rounds) == 1:
        return found.newest
    chosen = st.select_slider(
        "Checkpoint",
        [*rounds, NEWEST],
        NEWEST,
        key="predictions_checkpoint",
        bind="query-params",
        help="The parameters after each validated round. “newest” stays with the newest while the run goes on.",
    )
    return found.at(rounds.get(str(chosen)))


def _summary(found: Predictions, checkpoint: Checkpoint) -> str:
    newest = ", the newest" if checkpoint == found.newest else ""
    text = (
        f"**{checkpoint.right} of {len(checkpoint.samples)}** samples right with the parameters after round "
        f"**{checkpoint.parameters_round:,}**{newest}."
    )
    missing = found.workers - checkpoint.workers
    return text + (f" {missing:,} of {found.workers:,} workers have not told yet." if missing else "")


def _show_samples(
    found: Predictions, checkpoint: Checkpoint, snapshot: RunSnapshot, theme: Theme, *, only_mistakes: bool
) -> None:
    shown = [sample for sample in checkpoint.samples if not (only_mistakes and sample.is_right)]
    if not shown:
        show_hint("None of the samples is mistaken at this checkpoint.")
        return
    # Two messages: the pictures are the same at every checkpoint, and stay in the browser.
    st.html(picture_style(found.pictures, image_shape(snapshot.run.data_facts)))
    st.html(cards(found, shown[:MOST_SHOWN], theme))
    left_out = f" {MOST_SHOWN} of {len(shown):,} are shown." if len(shown) > MOST_SHOWN else ""
    show_hint(f"The strip beneath each shows where it was right and wrong, from the first checkpoint on.{left_out}")


def _show_confusion(found: Predictions, checkpoint: Checkpoint, theme: Theme) -> None:
    st.subheader("Confusion matrix", anchor=False)
    as_shares = st.toggle("Shares of each row", key="predictions_shares", bind="query-params")
    counts = confusion_matrix(checkpoint, len(found.class_names))
    matrix = confusion(checkpoint.parameters_round, found.class_names, counts)
    figure = confusion_figure(matrix, theme, as_shares=as_shares)
    chart(figure, key="predictions_confusion", height_px=min(720, 220 + 26 * len(matrix.names)))
    st.caption(plain(figure.alt))


show()
