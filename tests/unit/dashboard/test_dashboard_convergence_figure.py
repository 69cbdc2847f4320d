"""The charts of the page Convergence: what is drawn, how much of it, and what is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dashboard_samples import sample_snapshot
from msgspec.structs import replace

from dashboard.figures.convergence import MOST_VALUES, combine_marks, measure_figure, points_a_line
from dashboard.figures.figure import Figure
from dashboard.figures.theme import DARK, LIGHT
from dashboard.figures.worker_cells import worker_cells_figure
from dashboard.queries.run_data import RunSnapshot
from dashboard.views.convergence import Choices, MeasureView, measure_view
from dashboard.views.worker_cells import worker_cells

ALL_WORKERS = tuple(range(8))


@pytest.fixture(scope="module")
def long_run() -> RunSnapshot:
    return sample_snapshot(workers=10, rounds=80, steps_per_round=50)


def traces(figure: Figure) -> dict[str, dict[str, Any]]:
    return {trace["name"]: trace for trace in figure.data}


def values_of(figure: Figure) -> int:
    return sum(np.size(trace[axis]) for trace in figure.data for axis in ("x", "y"))


def with_target(snapshot: RunSnapshot) -> MeasureView:
    settings = replace(snapshot.run.settings, target_accuracy=0.9)
    return measure_view(snapshot._replace(run=replace(snapshot.run, settings=settings)), "accuracy", Choices())


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_band_median_validation_best_and_combine_points_are_drawn(theme: Any) -> None:
    snapshot = sample_snapshot()
    figure = measure_figure(measure_view(snapshot, "loss", Choices(workers=(1,))), theme)
    names = list(traces(figure))
    assert names[:4] == ["10th percentile", "10th to 90th percentile", "median of 4 workers", "worker 1"]
    assert names[4:] == ["combined", "validation", "best checkpoint"]
    np.testing.assert_allclose(
        traces(figure)["median of 4 workers"]["y"], np.median(snapshot.steps.loss, axis=0), rtol=1e-6
    )
    assert (figure.shown_points, figure.all_points) == (240, 240)


@pytest.mark.parametrize("workers", [(), (3,), ALL_WORKERS])
@pytest.mark.parametrize("smoothing", [0.0, 0.9])
@pytest.mark.parametrize("axis", ["step", "time"])
def test_what_is_sent_has_a_bound(long_run: RunSnapshot, workers: tuple[int, ...], smoothing: float, axis: Any) -> None:
    view = measure_view(long_run, "loss", Choices(axis=axis, workers=workers, smoothing=smoothing))
    figure = measure_figure(view, LIGHT)
    lines = figure.shown_points / (1 + len(workers))
    assert lines <= points_a_line(view) + 2 <= 1_002
    assert values_of(figure) <= MOST_VALUES * 1.15
    assert figure.all_points == pytest.approx(4_000 * (1 + len(workers)))
    assert len(next(iter(figure.table().values()))) == 4_000


def test_within_a_window_every_point_is_drawn(long_run: RunSnapshot) -> None:
    view = measure_view(long_run, "loss", Choices())
    figure = measure_figure(view, LIGHT, (1_000.0, 1_500.0))
    assert traces(figure)["median of 10 workers"]["x"].tolist() == list(range(999, 1_502))
    assert figure.shown_points == figure.all_points == 503
    assert list(figure.table()["step"]) == list(range(999, 1_502))


def test_many_combine_points_are_ticks_and_in_a_window_lines(long_run: RunSnapshot) -> None:
    view = measure_view(long_run, "loss", Choices())
    marks, words = combine_marks(view, LIGHT, None)
    assert marks[0]["mode"] == "markers"
    assert words == "80 combine points: as ticks on the axis; zoom in for lines."
    marks, words = combine_marks(view, LIGHT, (0.0, 500.0))
    assert (marks[0]["mode"], words) == ("lines", "")
    assert marks[0]["x"][::3].tolist() == [50.0 * index for index in range(1, 11)]
    assert combine_marks(view, LIGHT, (1.0, 2.0)) == ([], "")


def test_the_target_is_a_dashed_line_on_the_accuracy_alone() -> None:
    snapshot = sample_snapshot()
    shape = measure_figure(with_target(snapshot), LIGHT).layout["shapes"][0]
    assert (shape["y0"], shape["y1"], shape["line"]["dash"]) == (0.9, 0.9, "dash")
    assert "shapes" not in measure_figure(measure_view(snapshot, "loss", Choices()), LIGHT).layout


def test_log_is_for_the_loss_and_the_band_does_not_reach_zero() -> None:
    snapshot = sample_snapshot()
    loss = snapshot.steps.loss.copy()
    loss[0] = 0.0
    snapshot = snapshot._replace(steps=snapshot.steps._replace(loss=loss), revision=77_000)
    figure = measure_figure(measure_view(snapshot, "loss", Choices(log=True)), LIGHT)
    assert figure.layout["yaxis"]["type"] == "log"
    assert traces(figure)["10th percentile"]["y"].min() > 0
    accuracy = measure_figure(measure_view(snapshot, "accuracy", Choices(log=True)), LIGHT)
    assert accuracy.layout["yaxis"].get("type") != "log"


def test_smoothed_lines_lie_over_faint_raw_ones() -> None:
    view = measure_view(sample_snapshot(), "loss", Choices(smoothing=0.8, workers=(2,)))
    found = traces(measure_figure(view, LIGHT))
    for name in ("median of 4 workers", "worker 2"):
        assert found[name]["opacity"] < 0.5
        assert not found[name]["showlegend"]
        assert "opacity" not in found[f"{name}, smoothed"]


def test_the_sentence_has_figures() -> None:
    snapshot = sample_snapshot()
    median = np.median(snapshot.steps.loss, axis=0)
    alt = measure_figure(measure_view(snapshot, "loss", Choices()), LIGHT).alt
    assert f"from {median[0]:.4f} to {median[-1]:.4f} at 120" in alt
    assert "best checkpoint after round" in alt


def test_the_map_of_all_workers_names_the_worst() -> None:
    snapshot = sample_snapshot()
    figure = worker_cells_figure(worker_cells(snapshot, "loss", "step", "step", None), DARK)
    of_workers = snapshot.steps.loss.mean(axis=1)
    assert f"highest at worker {int(of_workers.argmax())} with {of_workers.max():.4f}" in figure.alt
    assert figure.data[0]["z"].shape == (4, 120)
    assert len(figure.data[0]["x"]) == 121
    assert set(figure.table()) == {"step", *(f"worker {index}" for index in range(4))}
    logged = worker_cells_figure(worker_cells(snapshot, "loss", "step", "step", None), DARK, log=True)
    np.testing.assert_allclose(logged.data[0]["z"], np.log10(snapshot.steps.loss), rtol=1e-5)
