"""Rows, attended time, waits, and the bars of a window: numbers by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from dashboard_samples import sample_snapshot
from worker_samples import T, attempt, combine_key, snapshot_of, spans, task, timeline_of, train_key, two_rounds

from contracts.records import SpanBatch, Task, TaskKey
from dashboard.views import phases
from dashboard.views.attended import attended
from dashboard.views.task_rows import OUTCOMES, RowStore
from dashboard.views.timeline import Timeline, make_timeline, timeline
from dashboard.views.timeline_window import Window, detail, first_window, round_window, whole
from dashboard.views.trace import make_trace
from dashboard.views.worker_attempts import attempts_of
from runs.summary import UNATTENDED_GAP_S, summarise

NOTHING = np.empty(0)


def stretches(timeline: Timeline, lane: int, phase: str) -> list[tuple[float, float]]:
    bars = timeline.bars
    found = np.flatnonzero((bars.lane == lane) & (bars.phase == phases.CODES[phase]))
    return [(round(float(bars.start_s[i]), 6), round(float(bars.end_s[i]), 6)) for i in found]


def test_the_wait_goes_from_the_report_to_the_first_combine_claim() -> None:
    line = timeline_of(two_rounds())

    assert stretches(line, 0, "wait") == [(6, 9), (14, 18)]
    assert stretches(line, 1, "wait") == [(8, 9)]  # in round 2 nobody had to wait for the combine task
    assert line.lanes.labels == ("worker 0", "worker 1", "combine 0")
    assert stretches(line, 2, "combine") == [(9, 10), (18, 20)]


def test_what_workers_extract_lies_on_their_lanes() -> None:
    keys = [TaskKey(round_index=0, kind="extract", index=index) for index in range(2)]
    whole = two_rounds()
    tasks = [*(task(key, attempt("done", 0.1, 0.9)) for key in keys), *whole.tasks.values()]
    batches = [*(spans(key, ("compute", 0.2, 0.8)) for key in keys), *whole.spans]
    line = timeline_of(snapshot_of(tasks, batches, {1: 10, 2: 20}, ended_s=20))

    assert line.lanes.labels == ("worker 0", "worker 1", "combine 0")
    for worker in range(2):
        assert stretches(line, worker, "compute")[0] == (0.2, 0.8)
        assert attempts_of(line, worker).round == [2, 1, 0]
    assert {event["tid"] for event in trace_events(tasks, batches) if "extract" in event["name"]} == {16, 32}


def trace_events(tasks: list[Task], batches: list[SpanBatch]) -> list[dict[str, Any]]:
    snapshot = snapshot_of(tasks, batches, {1: 10, 2: 20}, ended_s=20)
    return json.loads(make_trace(snapshot, timeline_of(snapshot)))["traceEvents"]  # type: ignore[no-any-return]


def test_a_wait_without_a_combine_task_ends_with_the_commit_or_goes_on() -> None:
    tasks = [task(train_key(0), attempt("done", 1, 4)), task(train_key(1), claimed_s=1)]

    assert stretches(timeline_of(snapshot_of(tasks, newest_s=7)), 0, "wait") == [(4, 7)]
    assert stretches(timeline_of(snapshot_of(tasks, commits_s={1: 6}, newest_s=9)), 0, "wait") == [(4, 6)]


def test_a_combine_task_that_found_a_torn_update_does_not_end_the_wait() -> None:
    tasks = [
        task(train_key(0), attempt("done", 1, 4)),
        task(train_key(1), attempt("done", 1, 5), attempt("done", 7, 9, number=2)),
        task(combine_key(), attempt("failed", 6, 6.5), attempt("done", 10, 11, number=2)),
    ]
    line = timeline_of(snapshot_of(tasks, commits_s={1: 11}, ended_s=11))

    assert stretches(line, 0, "wait") == [(4, 10)]
    assert stretches(line, 1, "wait") == [(9, 10)]


def test_cold_starts_are_one_phase_and_unknown_names_are_other() -> None:
    batch = spans(train_key(0), ("init", 0, 1), ("libraries", 1, 3), ("import", 3, 4), ("dance", 4, 5))
    line = timeline_of(snapshot_of([task(train_key(0), attempt("done", 1, 5))], [batch], ended_s=5))

    assert stretches(line, 0, "init") == [(0, 1), (1, 3), (3, 4)]
    assert stretches(line, 0, phases.OTHER) == [(4, 5)]


def test_an_attempt_at_work_is_as_long_as_its_news_and_shows_its_steps() -> None:
    snapshot = sample_snapshot(state="running")
    line = timeline_of(snapshot)
    at_work = line.attempts.rows["outcome"] == OUTCOMES.index("at work")

    assert at_work.any()
    assert line.attempts.end_s[at_work] == pytest.approx(line.axis.length_s)
    first = int(line.attempts.lane[at_work][0])
    computed = stretches(line, first, "compute")[-1]
    assert computed[1] == pytest.approx(np.nanmax(snapshot.steps.at[first]) - line.axis.clock[0])
    before, after = stretches(line, first, phases.UNREPORTED)[-2:]
    assert (before[1], after[0]) == pytest.approx(computed, abs=1e-5)


def test_an_attempt_of_a_run_that_nobody_works_at_does_not_go_on() -> None:
    snapshot = snapshot_of([task(train_key(0), claimed_s=1)], newest_s=50, conducted=False)

    assert stretches(timeline_of(snapshot), 0, phases.UNREPORTED) == []


def test_hours_between_stop_and_resume_are_cut() -> None:
    tasks = [
        task(train_key(0), attempt("done", 1, 10)),
        task(train_key(1), attempt("lost", 1, 30), attempt("done", 7200, 7210, number=2)),
    ]
    line = timeline_of(snapshot_of(tasks, commits_s={1: 7212}, ended_s=7212))

    assert [(cut.at_s, cut.seconds) for cut in line.axis.cuts] == [(10, 7190)]
    assert line.axis.length_s == pytest.approx(22)
    assert float(line.axis.of(np.array([T + 7200]))[0]) == pytest.approx(10)
    assert stretches(line, 0, "wait") == [(10, 22)]


def test_attended_time_is_that_of_the_summary() -> None:
    for state in ("finished", "running", "cancelled", "failed"):
        snapshot = sample_snapshot(state=state, troubles=True)  # type: ignore[arg-type]
        expected = summarise(snapshot.history(), snapshot.newest_at).elapsed_s
        assert timeline_of(snapshot).axis.length_s == pytest.approx(expected, abs=1e-3), state


def test_a_silence_is_none_where_something_else_is_known() -> None:
    starts, ends = np.array([0.0, 100.0]), np.array([10.0, 120.0])

    assert attended(0, 130, starts, ends, lambda: NOTHING).length_s == 130 - 90
    assert attended(0, 130, starts, ends, lambda: np.array([50.0])).length_s == 130
    silent = attended(0, 130 + UNATTENDED_GAP_S, starts, ends, lambda: np.array([50.0]))
    assert silent.length_s == 120  # the end alone is no work either


def test_rows_grow_and_old_ones_stay_as_they_were() -> None:
    store, whole_run = RowStore(), two_rounds()
    first = whole_run._replace(tasks=dict(list(whole_run.tasks.items())[:3]), spans=whole_run.spans[:3])
    open_task = task(train_key(1), claimed_s=1)
    early = first._replace(tasks={**first.tasks, open_task.key: open_task})

    before = store.read(early)
    kept = before.attempts.copy()
    after = store.read(whole_run)

    assert (before.attempts == kept).all()
    fresh = RowStore().read(whole_run)
    assert (after.attempts == fresh.attempts).all()
    assert (after.spans == fresh.spans).all()
    assert (store.read(first).spans == RowStore().read(first).spans).all()  # an older look at it


def test_a_timeline_made_step_by_step_is_the_one_made_at_once() -> None:
    snapshot = sample_snapshot(state="finished", troubles=True)
    half = snapshot._replace(revision=-1, spans=snapshot.spans[: len(snapshot.spans) // 2])

    timeline(half)
    grown = timeline(snapshot)

    for one, other in zip(grown.bars, make_timeline(snapshot, RowStore().read(snapshot)).bars, strict=True):
        np.testing.assert_array_equal(one, other)
    assert timeline(snapshot) is grown


def test_the_window_at_first() -> None:
    finished = timeline_of(two_rounds())
    window = first_window(finished)
    assert window.words == "round 2, the slowest one"
    assert (window.low_s, window.high_s) == pytest.approx((10 - 0.2, 20 + 0.2))
    running = timeline_of(snapshot_of(list(two_rounds().tasks.values()), commits_s={1: 10}, newest_s=19))
    assert first_window(running).words == "the last two rounds"
    assert first_window(timeline_of(snapshot_of([], newest_s=3))).words == "the whole run"
    assert round_window(finished, 3, 3, "round 3") is None
    assert round_window(finished, 0, 0, "round 0") is None


def test_too_many_bars_are_cut_to_the_longest() -> None:
    line = timeline_of(two_rounds())
    seen = detail(line, Window(0, 20, "all"), most=3)

    assert seen.all_bars == 13 == len(seen.every)
    lasted = sorted((seen.bars.end_s - seen.bars.start_s).tolist())
    assert lasted == pytest.approx([4, 6, 6])
    assert (np.diff(seen.bars.lane) >= 0).all()


def test_attempts_that_did_not_end_well_are_marked() -> None:
    seen = detail(line := timeline_of(sample_snapshot(troubles=True)), whole(line))

    names = {OUTCOMES[code] for code in seen.marked.rows["outcome"]}
    assert names == {"paused", "lost", "superseded"}
    assert seen.all_marked == len(seen.marked.lane) == 3
