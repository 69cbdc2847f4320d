"""Runs side by side: numbers worked out from their rounds by hand."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pytest
from dashboard_samples import SHAPE, sample_snapshot
from msgspec.structs import replace

from dashboard.figures.compare import compare_figure
from dashboard.figures.theme import DARK, LIGHT
from dashboard.queries.run_data import RunSnapshot
from dashboard.views.compare import common_target, finals, reached, run_curve, same_models, settings_of
from runs.summary import summarise

REVISIONS = count(50_000)


def run_with(run_id: str, accuracies: list[float], **changes: Any) -> RunSnapshot:
    """A run whose rounds 2, 3, … validate these accuracies."""
    snapshot = sample_snapshot(shape=SHAPE._replace(run_id=run_id))
    values = [None, *accuracies]
    rounds = tuple(
        replace(
            record,
            metrics={"train/loss": 1.0 / record.round_index} | ({} if value is None else {"val/accuracy": value}),
        )
        for record, value in zip(snapshot.rounds, [*values, None, None, None, None, None, None], strict=False)
    )
    run = replace(snapshot.run, results={}, **changes)
    return snapshot._replace(run=run, rounds=rounds, revision=next(REVISIONS))


def test_to_the_first_validation_at_or_above_the_target() -> None:
    snapshot = run_with("r-one0000001", [0.5, 0.8, 0.7, 0.9])
    found = reached(snapshot, 0.8)
    record = snapshot.rounds[1]  # the third round validated the parameters of the second one
    assert (found.value, found.round_index, found.best) == (0.8, 2, 0.9)
    assert found.epochs == pytest.approx(record.epochs)
    assert found.seconds == pytest.approx(record.committed_at - snapshot.run.started_at, abs=1e-4)
    before_usd = sum(task.cost_usd for key, task in snapshot.tasks.items() if key.round_index == 0)
    assert found.usd == pytest.approx(before_usd + sum(one.cost_usd for one in snapshot.rounds[:2]))


def test_what_was_not_reached_says_the_best() -> None:
    found = reached(run_with("r-one0000002", [0.5, 0.871]), 0.9)
    assert (found.value, found.best, found.seconds) == (None, 0.871, None)
    assert reached(run_with("r-one0000003", []), 0.5).best is None


def test_the_target_is_the_highest_that_all_have_reached() -> None:
    one, two = run_with("r-one0000004", [0.5, 0.91234]), run_with("r-one0000005", [0.95, 0.2])
    without = run_with("r-one0000006", [])
    assert common_target([one, two]) == 0.9123
    assert common_target([one, two, without]) == 0.9123
    assert common_target([without]) is None
    assert all(reached(run, 0.9123).value is not None for run in (one, two))


def test_curves_by_epoch_time_and_cost() -> None:
    snapshot = sample_snapshot()
    epochs = run_curve(snapshot, "train/loss", "epoch")
    assert epochs.x.tolist() == [record.epochs for record in snapshot.rounds]
    assert epochs.values.tolist() == [record.metrics["train/loss"] for record in snapshot.rounds]
    usd = run_curve(snapshot, "train/loss", "cost").x
    np.testing.assert_allclose(np.diff(usd), [record.cost_usd for record in snapshot.rounds[1:]])
    seconds = run_curve(snapshot, "train/loss", "time").x
    np.testing.assert_allclose(
        seconds, [record.committed_at - snapshot.run.started_at for record in snapshot.rounds], atol=1e-4
    )
    validated = run_curve(snapshot, "val/accuracy", "cost")
    assert len(validated.x) == len(validated.values) == len(validated.rounds) > 0


@pytest.mark.parametrize("state", ["pending", "preparing"])
def test_a_run_without_rounds_has_empty_curves(state: Any) -> None:
    snapshot = sample_snapshot(state=state)
    assert [len(run_curve(snapshot, shown, "cost").x) for shown in ("val/accuracy", "train/loss")] == [0, 0]
    assert finals(snapshot, snapshot.newest_at).rounds == 0


def test_final_figures_are_those_of_the_summary() -> None:
    snapshot = sample_snapshot()
    found, summary = finals(snapshot, snapshot.newest_at), summarise(snapshot.history(), snapshot.newest_at)
    assert found.cost_usd == pytest.approx(summary.cost_usd)
    assert found.elapsed_s == pytest.approx(summary.elapsed_s)
    assert found.test_accuracy == snapshot.run.results["test_accuracy"]
    assert (found.workers, found.rounds, found.status) == (4, 6, "finished")


def test_equal_parameters_are_the_same_model() -> None:
    one, two, other = (finals(sample_snapshot(), 0.0)._replace(run_id=name) for name in "abc")
    other = other._replace(parameters_sha256="f" * 64)
    unknown = other._replace(run_id="d", parameters_sha256="")
    assert same_models([one, other, two, unknown, unknown]) == [("a", "b")]


def test_settings_that_differ_are_told_from_those_that_do_not() -> None:
    one, two = sample_snapshot(workers=4), sample_snapshot(workers=2)
    settings = replace(two.run.settings, recipe_settings={"units": 32, "extra": True}, target_accuracy=0.9)
    found = {
        setting.name: setting for setting in settings_of([one, two._replace(run=replace(two.run, settings=settings))])
    }
    assert found["workers"].values == ("4", "2")
    assert found["recipe_settings.units"].values == ("64", "32")
    assert found["recipe_settings.extra"].values == ("–", "yes")
    assert found["target_accuracy"].values == ("–", "0.9")
    assert not found["outer.kind"].differs
    assert not found["seed"].differs
    assert found["workers"].differs


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_figure_tells_runs_apart_without_colour(theme: Any) -> None:
    runs = [run_with(f"r-one00000{index}", [0.5, 0.8, 0.9]) for index in range(10, 13)]
    curves = [run_curve(run, "val/accuracy", "epoch") for run in runs]
    figure = compare_figure(curves, "val/accuracy", "epoch", theme, target=0.8)
    assert len({trace["line"]["dash"] for trace in figure.data}) == 3
    assert figure.layout["shapes"][0]["y0"] == 0.8
    assert figure.shown_points == figure.all_points == 9
    assert "r-one0000010 ends with 0.9000 at" in figure.alt
    table = figure.table()
    assert {len(column) for column in table.values()} == {9}
    assert "shapes" not in compare_figure(curves, "val/loss", "epoch", theme, target=0.8).layout
