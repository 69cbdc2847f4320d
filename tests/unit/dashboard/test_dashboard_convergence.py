"""The views of the convergence page: where points lie, what belongs to whom, what is missing."""

from __future__ import annotations

from itertools import count, pairwise
from typing import Any

import numpy as np
import pytest
from dashboard_samples import SHAPE, sample_snapshot
from msgspec.structs import replace

from dashboard.queries.run_data import RunSnapshot
from dashboard.views.axes import attended_clock, place
from dashboard.views.convergence import Choices, cut_words, measure_view
from dashboard.views.curves import curve
from dashboard.views.headline import headline
from dashboard.views.worker_cells import worker_cells
from runs.summary import summarise

REVISIONS = count(10_000)


def changed_run(snapshot: RunSnapshot, **changes: Any) -> RunSnapshot:
    return snapshot._replace(run=replace(snapshot.run, **changes), revision=next(REVISIONS))


def test_by_step_the_median_is_that_of_the_workers_at_that_step() -> None:
    snapshot = sample_snapshot()
    view = measure_view(snapshot, "loss", Choices())
    assert view.x.tolist() == list(range(1, 121))
    np.testing.assert_allclose(view.lines[0].raw, np.median(snapshot.steps.loss, axis=0), rtol=1e-6)
    assert view.band is not None
    np.testing.assert_allclose(view.band.high, np.percentile(snapshot.steps.loss, 90, axis=0), rtol=1e-6)
    assert view.all_steps == 4 * 120
    assert view.combined.tolist() == [20, 40, 60, 80, 100, 120]


def test_by_round_each_worker_counts_with_its_mean() -> None:
    snapshot = sample_snapshot()
    view = measure_view(snapshot, "accuracy", Choices(level="round", workers=(2,)))
    of_workers = snapshot.steps.accuracy.reshape(4, 6, 20).mean(axis=2)  # (workers, rounds)
    assert view.x.tolist() == [20, 40, 60, 80, 100, 120]
    np.testing.assert_allclose(view.lines[0].raw, np.median(of_workers, axis=0), rtol=1e-5)
    np.testing.assert_allclose(view.lines[1].raw, of_workers[2], rtol=1e-5)


def test_by_epoch_there_is_a_point_an_epoch() -> None:
    snapshot = sample_snapshot()
    per_epoch = snapshot.run.plan.rounds_per_epoch if snapshot.run.plan else 0
    view = measure_view(snapshot, "loss", Choices(level="epoch", axis="epoch"))
    epochs = snapshot.rounds[-1].epochs
    assert view.x[-1] == pytest.approx(epochs)
    assert len(view.x) == round(epochs) == 6 // per_epoch
    of_workers = snapshot.steps.loss.reshape(4, len(view.x), -1).mean(axis=2)
    np.testing.assert_allclose(view.lines[0].raw, np.median(of_workers, axis=0), rtol=1e-5)


def test_steps_of_the_open_round_go_on_along_the_epochs() -> None:
    snapshot = sample_snapshot(state="running")
    x = place(snapshot, "epoch").columns
    assert np.all(np.diff(x) > 0)
    assert x[79] == pytest.approx(snapshot.rounds[-1].epochs)
    assert np.diff(x)[-1] == pytest.approx(np.diff(x)[0], rel=0.01)


def test_validation_lies_where_the_parameters_were_combined() -> None:
    snapshot = sample_snapshot()
    view = measure_view(snapshot, "accuracy", Choices())
    validating = [record for record in snapshot.rounds if "val/accuracy" in record.metrics]
    assert view.validated.rounds.tolist() == [record.round_index - 1 for record in validating]
    assert view.validated.x.tolist() == [20.0 * (record.round_index - 1) for record in validating]
    assert view.validated.values.tolist() == [record.metrics["val/accuracy"] for record in validating]


def test_the_last_evaluation_belongs_to_the_parameters_that_the_run_ended_with() -> None:
    snapshot = sample_snapshot()
    snapshot = changed_run(snapshot, final_round=6, results={"val_accuracy": 0.97, "val_loss": 0.1})
    view = measure_view(snapshot, "accuracy", Choices())
    assert (view.validated.x[-1], view.validated.values[-1], view.validated.rounds[-1]) == (120, 0.97, 6)


def test_the_best_checkpoint_is_marked_in_both_charts_with_its_own_figure() -> None:
    snapshot = sample_snapshot()
    best = snapshot.run.best
    assert best is not None
    for measure in ("loss", "accuracy"):
        view = measure_view(snapshot, measure, Choices())  # type: ignore[arg-type]
        record = next(record for record in snapshot.rounds if record.round_index == best.round_index + 1)
        assert view.best == (20 * best.round_index, record.metrics[f"val/{measure}"], best.round_index)


def test_time_counts_from_the_start_and_a_worker_has_times_of_its_own() -> None:
    snapshot = sample_snapshot()
    view = measure_view(snapshot, "loss", Choices(axis="time", workers=(0, 3)))
    began = snapshot.run.started_at
    np.testing.assert_allclose(view.x, np.median(snapshot.steps.at, axis=0) - began, atol=1e-4)
    np.testing.assert_allclose(view.lines[2].x, snapshot.steps.at[3] - began, atol=1e-4)
    commits = [record.committed_at - began for record in snapshot.rounds]
    np.testing.assert_allclose(view.combined, commits, atol=1e-4)


def test_a_pause_is_cut_out_of_the_time_and_said() -> None:
    snapshot = resumed(sample_snapshot(), pause_s=7_200.0)
    places = place(snapshot, "time")
    assert np.all(np.diff(places.columns) >= 0)
    assert max(np.diff(places.columns)) < 100
    assert sum(cut.seconds for cut in places.cuts) == pytest.approx(7_200, rel=0.05)
    assert "1 pause in which nobody worked on the run, 2 h 00 min" in cut_words(places)
    assert cut_words(place(snapshot, "step")) == ""


@pytest.mark.parametrize("state", ["running", "finished", "failed"])
def test_attended_time_is_that_of_the_summary(state: Any) -> None:
    snapshot = sample_snapshot(state=state)
    length_s = attended_clock(snapshot).length_s
    assert length_s == pytest.approx(summarise(snapshot.history(), snapshot.newest_at).elapsed_s, abs=0.01)


def test_steps_done_again_do_not_run_backwards() -> None:
    snapshot = sample_snapshot()
    at = snapshot.steps.at.copy()
    at[2, 40:45] += 30.0  # done again: the steps that follow are still those of the attempt that was lost
    snapshot = snapshot._replace(steps=snapshot.steps._replace(at=at), revision=next(REVISIONS))
    view = measure_view(snapshot, "loss", Choices(axis="time", workers=(0, 1, 2, 3)))
    assert all(np.all(np.diff(line.x) >= 0) for line in view.lines)
    assert 44 in view.lines[3].points
    assert 45 not in view.lines[3].points


def test_workers_behind_the_others_leave_no_hole() -> None:
    snapshot = sample_snapshot()
    loss = snapshot.steps.loss.copy()
    loss[1:, 100:] = np.nan
    loss[:, 60] = np.nan  # a round that came out shorter than planned
    snapshot = snapshot._replace(steps=snapshot.steps._replace(loss=loss), revision=next(REVISIONS))
    view = measure_view(snapshot, "loss", Choices(workers=(1,)))
    assert len(view.x) == 119
    assert 61 not in view.x
    np.testing.assert_allclose(view.lines[0].raw[-1], loss[0, -1])
    assert len(view.lines[1].x) == 99


def test_one_worker_alone_has_no_band() -> None:
    view = measure_view(sample_snapshot(workers=1), "loss", Choices(workers=(0,)))
    assert view.band is None
    assert [line.name for line in view.lines] == ["worker 0"]


def test_at_most_eight_workers_and_only_those_that_there_are() -> None:
    view = measure_view(sample_snapshot(workers=12), "loss", Choices(workers=(*range(12), 99)))
    assert len(view.lines) == 1 + 8
    assert len(measure_view(sample_snapshot(), "loss", Choices(workers=(99, -1))).lines) == 1


def test_smoothing_keeps_the_raw_line() -> None:
    line = measure_view(sample_snapshot(), "loss", Choices(smoothing=0.9)).lines[0]
    assert line.smooth is not None
    assert np.std(np.diff(line.smooth)) < np.std(np.diff(line.raw)) / 3
    assert line.smooth[0] == pytest.approx(line.raw[0])


def test_what_is_missing_is_said() -> None:
    assert "have not come in yet" in measure_view(sample_snapshot(state="preparing"), "loss", Choices()).missing
    regression = sample_snapshot(shape=SHAPE._replace(accuracies=False))
    rounds = tuple(replace(record, metrics={"train/loss": 1.0}) for record in regression.rounds)
    regression = changed_run(regression._replace(rounds=rounds), data_facts={"classes": 0}, results={}, best=None)
    assert "predicts numbers" in measure_view(regression, "accuracy", Choices()).missing
    assert measure_view(regression, "loss", Choices()).missing == ""


def test_the_figures_on_top() -> None:
    snapshot = sample_snapshot()
    found = headline(snapshot)
    rounds = snapshot.rounds
    assert found.has_accuracy
    assert found.loss.value == rounds[-1].metrics["train/loss"]
    assert found.loss.change == pytest.approx(rounds[-1].metrics["train/loss"] - rounds[-2].metrics["train/loss"])
    assert snapshot.run.best is not None
    assert found.best.value == snapshot.run.best.value
    rates = [b.examples / (b.committed_at - a.committed_at) for a, b in pairwise(rounds)]
    assert found.examples_per_s == pytest.approx(np.median(rates[-5:]))
    nothing = headline(sample_snapshot(state="preparing"))
    assert (nothing.loss.value, nothing.validation.value, nothing.examples_per_s) == (None, None, None)


def test_the_view_of_all_workers_is_a_row_a_worker() -> None:
    snapshot = sample_snapshot()
    cells = worker_cells(snapshot, "loss", "step", "step", None)
    np.testing.assert_array_equal(cells.values, snapshot.steps.loss)
    assert cells.edges.tolist() == list(range(121))
    inside = worker_cells(snapshot, "loss", "step", "step", (20.0, 30.0))
    np.testing.assert_array_equal(inside.values, snapshot.steps.loss[:, 20:30])
    assert inside.points == 40


def test_many_workers_and_steps_share_cells() -> None:
    snapshot = sample_snapshot(workers=100, rounds=4, steps_per_round=50)
    cells = worker_cells(snapshot, "loss", "step", "step", None)
    assert cells.values.shape == (50, 200)
    assert cells.workers_a_row == 2
    assert cells.values[0, 0] == pytest.approx(snapshot.steps.loss[:2, 0].mean(), rel=1e-5)
    snapshot = sample_snapshot(workers=64, rounds=4, steps_per_round=100)
    cells = worker_cells(snapshot, "loss", "step", "step", None)
    assert cells.values.shape == (64, 160)
    assert cells.edges[:3].tolist() == [0, 2, 5]
    np.testing.assert_allclose(cells.values[5, 1], snapshot.steps.loss[5, 2:5].mean(), rtol=1e-5)


def test_a_curve_is_kept_until_the_run_has_changed() -> None:
    snapshot = sample_snapshot()
    kept = curve(snapshot, "loss", "step")
    later = snapshot._replace(revision=snapshot.revision + 1)
    assert curve(snapshot, "loss", "step").band is kept.band
    assert curve(later, "loss", "step").band is not kept.band
    assert np.shares_memory(kept.values, snapshot.steps.loss)  # what is as large as the grid is not kept twice
    rounds = curve(snapshot, "loss", "round")
    assert curve(snapshot, "loss", "round") is rounds


def resumed(snapshot: RunSnapshot, pause_s: float) -> RunSnapshot:
    """As if nobody had worked on the run for a while behind its third round."""
    at_s = snapshot.rounds[2].committed_at

    def later(seconds: float) -> float:
        return seconds + pause_s if seconds > at_s else seconds

    rounds = tuple(replace(record, committed_at=later(record.committed_at)) for record in snapshot.rounds)
    tasks = {
        key: replace(
            task,
            history=tuple(
                replace(record, started_at=later(record.started_at), ended_at=later(record.ended_at))
                for record in task.history
            ),
        )
        for key, task in snapshot.tasks.items()
    }
    at = np.where(snapshot.steps.at > at_s, snapshot.steps.at + pause_s, snapshot.steps.at)
    packed = [
        packed._replace(began_at=low, ended_at=high)
        for packed in snapshot.packed_steps
        for low, high in ((packed.began_at, at_s), (at_s + pause_s, later(packed.ended_at)))
    ]
    changed = snapshot._replace(
        rounds=rounds,
        tasks=tasks,
        steps=snapshot.steps._replace(at=at),
        packed_steps=tuple(packed),
        newest_at=later(snapshot.newest_at),
    )
    return changed_run(changed, ended_at=later(snapshot.run.ended_at))
