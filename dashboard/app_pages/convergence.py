"""The page Convergence: how the model learns, as it happens."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard.figures.convergence import combine_marks, measure_figure
from dashboard.figures.worker_cells import worker_cells_figure
from dashboard.parts.chart import chart, chart_range
from dashboard.parts.messages import show_empty, show_hint
from dashboard.parts.page import Page, chosen_run
from dashboard.parts.page import page as this_page
from dashboard.queries.run_data import RunSnapshot
from dashboard.views.axes import AXES, Axis
from dashboard.views.convergence import MOST_WORKERS, Choices, cut_words, measure_view
from dashboard.views.curves import LEVELS, MEASURES, Measure, placement
from dashboard.views.headline import Headline, Reading, headline
from dashboard.views.worker_cells import worker_cells
from runs.words import maybe

CHART_PX = 400
TITLES = {"loss": "Loss", "accuracy": "Accuracy"}


def show() -> None:
    """The page."""
    page = this_page()
    if page is None:
        return
    snapshot = chosen_run(page)
    if snapshot is None:
        return
    if not snapshot.columns and not snapshot.rounds:
        _show_nothing(snapshot)
        return
    _show_headline(headline(snapshot))
    choices, all_workers = _choose(snapshot.run.settings.workers)
    hints: dict[str, None] = {}  # each one once, though it may hold for both charts
    for column, measure in zip(st.columns(2), MEASURES, strict=True):
        with column:
            st.subheader(TITLES[measure], anchor=False)
            if all_workers:
                _show_cells(page, snapshot, measure, choices)
            else:
                hints[_show_measure(page, snapshot, measure, choices)] = None
    hints[cut_words(placement(snapshot, choices.axis))] = None
    if words := " ".join(filter(None, hints)):
        show_hint(words)


def _show_nothing(snapshot: RunSnapshot) -> None:
    if snapshot.run.ended:
        show_empty("Nothing to draw", "The run ended before its first steps came in.")
    else:
        text = "Functions start, data is read, the model is built. The curves appear here by themselves."
        show_empty("The first steps have not come in yet", text)


def _show_headline(found: Headline) -> None:
    kind = "accuracy" if found.has_accuracy else "loss"
    with st.container(horizontal=True):
        _metric(
            "Training loss", found.loss, "inverse", "Mean over the last round; the change is that to the round before."
        )
        up = "normal" if found.has_accuracy else "inverse"
        _metric(f"Validation {kind}", found.validation, up, "Of the newest checkpoint that was validated.")
        _metric(f"Best validation {kind}", found.best, "off", "Of the checkpoint that is kept as the best.")
        rate = "–" if found.examples_per_s is None else f"{found.examples_per_s:,.0f}"
        st.metric("Examples/s", rate, help="All workers together: the median of the last rounds.")


def _metric(title: str, reading: Reading, color: Any, words: str) -> None:
    after = "" if reading.round_index is None else f" After round {reading.round_index:,}."
    delta = None if reading.change is None else f"{reading.change:+.4f}"
    st.metric(title, maybe(reading.value), delta, delta_color=color, help=words + after)


def _choose(workers: int) -> tuple[Choices, bool]:
    """What to draw, and whether all workers are to be seen at once."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        level = st.segmented_control(
            "A point for each", LEVELS, default="step", required=True, key="convergence_level", bind="query-params"
        )
        axis: Axis = st.segmented_control(
            "Along", AXES, default="step", required=True, key="convergence_axis", bind="query-params"
        )
        chosen: list[int] = []
        all_workers = False
        if workers > 1:
            all_workers = st.toggle(
                "All workers", key="convergence_all", bind="query-params", help="As a map of colours."
            )
            chosen = st.multiselect(
                "Workers",
                range(workers),
                max_selections=MOST_WORKERS,
                key="convergence_workers",
                bind="query-params",
                disabled=all_workers,
                placeholder=f"Up to {MOST_WORKERS} as lines",
                width=280,
            )
        smoothing = st.slider(
            "Smoothing",
            0.0,
            0.99,
            0.0,
            0.01,
            key="convergence_smoothing",
            bind="query-params",
            disabled=all_workers,
            help="Weight of what was before, in a moving average free of bias at its beginning. The band stays raw.",
            width=180,
        )
        log = st.toggle("Log loss", key="convergence_log", bind="query-params", help="A logarithmic axis for the loss.")
    return Choices(level, axis, tuple(chosen), smoothing, log), all_workers


def _show_measure(page: Page, snapshot: RunSnapshot, measure: Measure, choices: Choices) -> str:
    """The chart of one measure. Returns what to say about its combine points."""
    view = measure_view(snapshot, measure, choices)
    if view.missing:
        show_hint(view.missing)
        return ""
    key = f"convergence_{measure}_{choices.axis}"
    visible = chart_range(key)
    chart(measure_figure(view, page.theme, visible), key=key, height_px=CHART_PX, live_range=True)
    return combine_marks(view, page.theme, visible)[1]


def _show_cells(page: Page, snapshot: RunSnapshot, measure: Measure, choices: Choices) -> None:
    key = f"convergence_{measure}_{choices.axis}_cells"
    cells = worker_cells(snapshot, measure, choices.level, choices.axis, chart_range(key))
    if not cells.values.size:
        view = measure_view(snapshot, measure, choices)
        show_hint(view.missing or "There are only figures of the whole here: the workers recorded none of their own.")
        return
    chart(worker_cells_figure(cells, page.theme, log=choices.log), key=key, height_px=CHART_PX, live_range=True)


show()
