"""The table of workers, its sentence, and mean phases: by hand, and against the summary of the command line."""

from __future__ import annotations

import numpy as np
import pytest
from dashboard_samples import sample_snapshot
from worker_samples import attempt, snapshot_of, task, timeline_of, train_key, two_rounds

from dashboard.figures.theme import LIGHT
from dashboard.figures.worker_phases import rounds_figure, workers_figure
from dashboard.views import phases
from dashboard.views.mean_phases import by_round, by_worker
from dashboard.views.stragglers import headline, make_table, span_seconds
from dashboard.views.worker_attempts import attempts_of, summary_of
from runs.summary import summarise


def test_slowdown_waits_and_whom_they_waited_for() -> None:
    snapshot = two_rounds()
    table = make_table(snapshot, timeline_of(snapshot))

    # Medians of (5, 3) and (7, 7) seconds a round: 4 and 7; between these 5.5.
    assert table.slowdown.tolist() == pytest.approx([4 / 5.5, 7 / 5.5])
    assert table.waited_s.tolist() == pytest.approx([3 + 4, 1])
    assert table.held_up_s.tolist() == pytest.approx([0, 2 + 4])
    assert table.compute_share.tolist() == pytest.approx([6 / 8, 12 / 14])
    assert table.peak_memory_mb.tolist() == [1, 2]
    assert table.sorted().worker.tolist() == [1, 0]
    assert headline(table) == "Worker 1 took 1.3 times as long as the median: the others waited 6.0 s for it."


def test_the_table_has_the_figures_of_the_summary() -> None:
    snapshot = sample_snapshot(workers=5, rounds=6, troubles=True)
    line = timeline_of(snapshot)
    table = make_table(snapshot, line)
    seconds = span_seconds(line)

    for index, tally in enumerate(summarise(snapshot.history(), snapshot.newest_at).workers):
        assert table.attempts[index] == tally.attempts
        assert table.pauses[index] == tally.pauses
        assert table.failures[index] == tally.failures
        assert table.superseded[index] == tally.superseded
        assert table.cost_usd[index] == pytest.approx(tally.cost_usd)
        assert table.examples[index] == tally.examples
        assert table.peak_memory_mb[index] == pytest.approx(tally.peak_memory_bytes / (1 << 20))
        for name in ("load", "evaluate", "assign", "write"):
            assert seconds[index, phases.CODES[name]] == pytest.approx(tally.span_s.get(name, 0.0), abs=1e-4), name
    assert (table.pauses.sum(), table.failures.sum(), table.superseded.sum()) == (1, 1, 1)


def test_steps_are_those_that_count() -> None:
    snapshot = sample_snapshot(workers=3, rounds=4, steps_per_round=20)
    table = make_table(snapshot, timeline_of(snapshot))

    assert table.steps.tolist() == [80, 80, 80]
    step_s = np.nansum(snapshot.steps.duration_ms, axis=1, dtype=np.float64) / 1000
    assert table.examples_per_s.tolist() == pytest.approx(snapshot.steps.examples.sum(axis=1) / step_s)
    assert table.step_ms.tolist() == pytest.approx(np.nanmedian(snapshot.steps.duration_ms, axis=1).tolist())


def test_the_sentence_of_other_runs() -> None:
    alone = sample_snapshot(workers=1)
    assert headline(make_table(alone, timeline_of(alone))) == "One worker: there is nobody to wait for."
    none = snapshot_of([task(train_key(0), claimed_s=1)], newest_s=3)
    assert headline(make_table(none, timeline_of(none))) == "No worker has finished a round yet."
    alike = snapshot_of([task(train_key(i), attempt("done", 1, 5 + i / 10)) for i in (0, 1)], newest_s=6)
    assert headline(make_table(alike, timeline_of(alike))).startswith("The 2 workers were about equally fast")


def test_attempts_of_a_worker_newest_first() -> None:
    tasks = [
        task(train_key(0), attempt("paused", 1, 3), attempt("failed", 3, 4, number=2), attempt("done", 5, 6, number=3)),
        task(train_key(0, 2), claimed_s=8),
    ]
    snapshot = snapshot_of(tasks, newest_s=9)
    line = timeline_of(snapshot)
    found = attempts_of(line, 0, most=3)

    assert found.round == [2, 1, 1]
    assert found.attempt == [1, 3, 2]
    assert found.outcome == ["at work", "done", "✖ failed"]
    assert found.duration_s == pytest.approx([1, 1, 1])
    assert np.isnan(found.cost_usd[0])
    assert found.request_id == ["open-1", "request-5-3", "request-3-2"]
    assert found.all_attempts == 4
    text = summary_of(make_table(snapshot, line), 0)
    assert "4 attempts, 1 hand-over, 1 failure" in text


def test_mean_phases_add_up_to_the_rounds() -> None:
    means = by_round(timeline_of(two_rounds()))

    assert means.x.tolist() == [1, 2]
    assert means.seconds.sum(axis=0).tolist() == pytest.approx([9, 10])
    by_name = {phases.NAMES[code]: means.seconds[code].tolist() for code in means.used}
    expected = {"load": [1, 1], "compute": [5, 4], "wait": [2, 2], "combine": [1, 2], "idle": [0, 1]}
    assert by_name.keys() == expected.keys()
    for name, seconds in expected.items():
        assert by_name[name] == pytest.approx(seconds), name
    assert by_worker(timeline_of(two_rounds())).seconds.sum(axis=0).tolist() == pytest.approx([20, 20])


def test_many_rounds_are_put_together() -> None:
    line = timeline_of(two_rounds())
    means = by_round(line, most=1)

    assert means.x.tolist() == [1]
    assert means.rounds_a_column == 2
    assert means.seconds.sum() == pytest.approx(9.5)
    figure = rounds_figure(means, LIGHT)
    assert (figure.shown_points, figure.all_points) == (1, 2)
    assert "mean of 2 rounds" in figure.alt
    assert len(figure.table()["round"]) == 2
    assert "2 workers" in workers_figure(by_worker(line), LIGHT).alt
