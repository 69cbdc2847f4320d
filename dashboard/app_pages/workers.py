"""The page Workers: where every worker's time went, who was slow, and what became of each attempt."""

from __future__ import annotations

import streamlit as st

from dashboard.figures.worker_lanes import height_px
from dashboard.figures.worker_phases import rounds_figure, workers_figure
from dashboard.figures.worker_raster import raster_figure
from dashboard.figures.worker_timeline import timeline_figure
from dashboard.parts.chart import chart, chart_range
from dashboard.parts.messages import show_empty, show_hint
from dashboard.parts.page import Page, chosen_run
from dashboard.parts.page import page as this_page
from dashboard.parts.worker_tables import show_attempts, show_workers
from dashboard.queries.run_data import RunSnapshot
from dashboard.views.mean_phases import MeanPhases, by_round, by_worker
from dashboard.views.raster import Raster, make_raster
from dashboard.views.remembered import Remembered
from dashboard.views.stragglers import WorkerTable, headline, make_table
from dashboard.views.timeline import Timeline, timeline
from dashboard.views.timeline_window import MOST_BARS, Detail, Window, detail, first_window, round_window
from dashboard.views.trace import make_trace
from runs import words

WORKER_KEY, ROUND_KEY, MEAN_KEY = "workers_worker", "workers_round", "workers_mean"
CHOSEN_KEY = "workers_chosen"
"""What is chosen, as the server knows it: see `_choose_next`."""

ROUNDS, WORKERS = "by round", "by worker"
PHASES_PX = 300
LEAST_ZOOM_S = 1e-3


class _Views:
    """What one revision of a run gives, each part made when it is first asked for."""

    def __init__(self, snapshot: RunSnapshot) -> None:
        self.timeline: Timeline = timeline(snapshot)
        self.table: WorkerTable = make_table(snapshot, self.timeline)
        self.raster: Raster = make_raster(self.timeline)
        self.by_worker: MeanPhases = by_worker(self.timeline)
        self.by_round: MeanPhases = by_round(self.timeline)


_views: Remembered[_Views] = Remembered(4)


def show() -> None:
    """The page."""
    page = this_page()
    if page is None:
        return
    snapshot = chosen_run(page)
    if snapshot is None:
        return
    which = (snapshot.source.name, snapshot.run.run_id, snapshot.revision)
    views = _views.get(which, lambda: _Views(snapshot))
    if views.timeline.is_empty:
        _show_nothing_yet(snapshot)
        return
    st.subheader(headline(views.table), anchor=False)
    worker, round_index = _choices(snapshot, views.timeline)
    window = _show_overview(views, snapshot, worker, round_index, page)
    _show_detail(views.timeline, window, snapshot, worker, page)
    _show_means(views, page)
    show_workers(views.table, worker)
    if worker is not None:
        show_attempts(snapshot, views.timeline, views.table, worker)


def _show_nothing_yet(snapshot: RunSnapshot) -> None:
    if snapshot.run.ended:
        show_empty("Nothing to show", "The run ended before a function reported where its time went.")
    else:
        show_empty("Nothing to show yet", "No function has begun. Each one is shown here as soon as it has.")


def _choices(snapshot: RunSnapshot, timeline: Timeline) -> tuple[int | None, int | None]:
    """The chosen worker and round, and the trace to take along."""
    workers = timeline.lanes.workers
    with st.container(horizontal=True, vertical_alignment="bottom"):
        worker = st.selectbox(
            "Worker",
            list(range(workers)),
            index=None,
            key=WORKER_KEY,
            bind="query-params",
            width=160,
            placeholder="none",
        )
        st.session_state[CHOSEN_KEY] = worker
        for label, step, shortcut in (("Previous", -1, "b"), ("Next", 1, "n")):
            st.button(
                label,
                key=f"workers_{label.lower()}",
                shortcut=shortcut,
                on_click=_choose_next,
                args=(step, workers),
                help=f"{label} worker",
            )
        round_index = st.number_input(
            "Round", min_value=1, value=None, step=1, key=ROUND_KEY, bind="query-params", width=160, placeholder="any",
            help="Show this round in detail. Empty: what you zoom to in the overview.",
        )  # fmt: skip
        st.download_button(
            "Trace",
            lambda: make_trace(snapshot, timeline),
            f"{snapshot.run.run_id}-trace.json",
            "application/json",
            key="workers_trace",
            icon=":material/download:",
            on_click="ignore",
            help="The whole run for ui.perfetto.dev or chrome://tracing.",
        )
    return worker if worker in range(workers) else None, round_index


def _choose_next(step: int, workers: int) -> None:
    # Not from the selector: while a run of the script is under way, a second press brings the browser's older choice.
    now = st.session_state.get(CHOSEN_KEY)
    chosen = (now + step) % workers if now is not None else (0 if step > 0 else workers - 1)
    st.session_state[WORKER_KEY] = st.session_state[CHOSEN_KEY] = chosen


def _show_overview(
    views: _Views, snapshot: RunSnapshot, worker: int | None, round_index: int | None, page: Page
) -> Window:
    """The raster; gives the window of the detail."""
    timeline = views.timeline
    key = f"workers_raster_{snapshot.run.run_id}"
    zoomed = chart_range(key)
    window = _window(timeline, zoomed, round_index)
    marked = window if zoomed is None or round_index is not None else None
    figure = raster_figure(timeline, views.raster, views.by_worker, marked, worker, page.theme)
    chart(figure, key=key, height_px=height_px(len(timeline.lanes.labels), 11), live_range=True)
    if cuts := timeline.axis.cuts:
        left_out = words.duration(sum(cut.seconds for cut in cuts))
        show_hint(f"Attended time: {left_out} in which nobody worked on the run are left out, at the dotted lines.")
    return window


def _window(timeline: Timeline, zoomed: tuple[float, float] | None, round_index: int | None) -> Window:
    if round_index is not None:
        found = round_window(timeline, round_index, round_index, f"round {round_index}")
        if found is not None:
            return found
        show_hint(f"Round {round_index:,} has not begun.")
    if zoomed is not None:
        low, high = max(0.0, zoomed[0]), min(zoomed[1], timeline.axis.length_s)
        if high - low >= LEAST_ZOOM_S:
            return Window(low, high, f"{low:,.2f} s to {high:,.2f} s, as zoomed above")
    return first_window(timeline)


def _show_detail(timeline: Timeline, window: Window, snapshot: RunSnapshot, worker: int | None, page: Page) -> None:
    seen = detail(timeline, window)
    st.markdown(f"**In detail: {window.words}**")
    figure = timeline_figure(timeline, seen, worker, page.theme)
    chart(figure, key=f"workers_timeline_{snapshot.run.run_id}", height_px=height_px(len(timeline.lanes.labels)))
    if hint := _too_many(seen):
        show_hint(hint)


def _too_many(seen: Detail) -> str:
    if seen.all_bars > len(seen.bars.lane):
        return f"Zoom in above: {seen.all_bars:,} spans here, the longest {MOST_BARS:,} are shown."
    if seen.all_marked > len(seen.marked.lane):
        return f"Zoom in above: {seen.all_marked:,} attempts here did not end well, the last ones are marked."
    return ""


def _show_means(views: _Views, page: Page) -> None:
    st.markdown("**Mean phases**")
    kind = st.segmented_control(
        "Mean phases", [ROUNDS, WORKERS], default=ROUNDS, key=MEAN_KEY, bind="query-params", required=True,
        label_visibility="collapsed",
    )  # fmt: skip
    if kind == WORKERS:
        chart(workers_figure(views.by_worker, page.theme), key="workers_means_by_worker", height_px=PHASES_PX)
    elif not len(views.by_round.x):
        show_hint("No round is committed yet: there is nothing to take the mean of.")
    else:
        figure = rounds_figure(views.by_round, page.theme)
        chart(figure, key="workers_means_by_round", height_px=PHASES_PX)
        if views.by_round.rounds_a_column > 1:
            show_hint(f"Each column is the mean of {views.by_round.rounds_a_column} rounds.")


show()
