"""What a run will take, before it is started: checked against worked examples and against a run's own bill."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from contracts.records import Run
from contracts.settings import OuterSettings, RunSettings
from runs.estimate import Estimate, assumed_step_time, estimate
from runs.growth_measured import MEASURED
from runs.idle import idle_cost
from runs.planned_sizes import like_before
from runs.sizes import Sizes, StepTime

MILLION = 1_000_000
LARGE = Sizes(10 * MILLION, 0, 0, 60_000, 0, 0, 0, 0, "a test")


def settings(**changes: Any) -> RunSettings:
    values: dict[str, Any] = {
        "recipe": "r",
        "recipe_digest": "0",
        "dataset": "d",
        "workers": 256,
        "batch_size": 8,
        "rounds": 1,
        "steps_per_round": 30,
        "concurrency": 256,
        "memory_mb": 2048,
        "max_cost_usd": 100.0,
        "outer": OuterSettings(kind="sgd", learning_rate=1.0),
    }
    return RunSettings(**values | changes)


def usd(found: Estimate, group: str, *names: str) -> float:
    return sum(line.usd for line in found.lines if line.group == group and (not names or line.name in names))


def test_ten_million_parameters_on_256_workers_cost_more_in_transfer_than_in_compute() -> None:
    """A round at 2 GB and 30 s is $0.26 of compute; $1.23 of vectors, $0.02 of opening them (docs/costs.md)."""
    one, two = (estimate(settings(rounds=rounds), LARGE, StepTime(1.0, 1, "t")) for rounds in (1, 2))
    transfer_usd = usd(two, "EFS", "read", "written") - usd(one, "EFS", "read", "written")
    compute_usd = usd(two, "Lambda", "Train") - usd(one, "Lambda", "Train")
    assert transfer_usd == pytest.approx(1.246, abs=0.001)
    assert compute_usd == pytest.approx(0.26, rel=0.05)


def test_the_estimate_counts_rounds_steps_and_invocations() -> None:
    sizes = replace_sizes(LARGE, parameters=1_000, examples=800, val_examples=80, test_examples=80)
    asked = settings(workers=4, concurrency=4, rounds=None, epochs=2, steps_per_round=5, slices=1)
    found = estimate(asked, sizes, StepTime(0.01, 1, "t"))
    # 160 examples a round: 5 rounds an epoch of 800.
    assert (found.rounds, found.steps_per_worker, found.slices) == (10, 50, 1)
    train = next(line for line in found.lines if line.name == "requests: workers")
    assert train.amount == 4 * 10 + 10 + 3 + 2, "train, combine, prepare, initialise, evaluate, two clearings"
    assert found.total_usd == pytest.approx(sum(line.usd for line in found.lines))
    assert 0 < found.budget_usd < found.total_usd
    assert all(line.estimated for line in found.lines)


@pytest.mark.parametrize(("budget_usd", "within"), [(100.0, True), (0.5, False)])
def test_it_is_compared_with_the_budget(budget_usd: float, within: bool) -> None:
    found = estimate(settings(max_cost_usd=budget_usd), LARGE, StepTime(1.0, 1, "t"))
    assert found.within_budget == within
    assert any("will end the run" in note for note in found.notes) != within


def test_workers_that_wait_for_the_budget_are_told_of() -> None:
    found = estimate(settings(max_cost_usd=3.0), LARGE, StepTime(1.0, 1, "t"))
    assert found.held_back_usd > 3.0 > found.budget_usd
    assert any("held back" in note for note in found.notes)


def test_a_small_network_is_faster_on_this_machine_and_a_large_one_is_not() -> None:
    small = estimate(
        settings(workers=4, concurrency=4),
        replace_sizes(LARGE, parameters=5_000),
        StepTime(0.001, 1, "t"),
        laptop_cores=4,
    )
    large = estimate(settings(rounds=50), LARGE, StepTime(5.0, 1, "t"), laptop_cores=4)
    assert small.laptop_s < small.duration_s and any("This machine would be faster" in note for note in small.notes)
    assert large.laptop_s > large.duration_s and not any("This machine" in note for note in large.notes)


def test_where_the_steps_time_is_from_is_said() -> None:
    step = assumed_step_time(LARGE, settings())
    assert step.seconds == pytest.approx(MEASURED.step.at(LARGE.parameters, 0, batch_size=8))
    found = estimate(settings(), LARGE, step)
    assert "assumption" in found.step_source and MEASURED.machine in found.step_source
    assert any(MEASURED.date in line and "were off" in line for line in found.assumptions)


def test_more_memory_makes_a_step_of_many_threads_faster() -> None:
    step = StepTime(1.0, 4, "t")
    little, much = (estimate(settings(memory_mb=memory_mb), LARGE, step) for memory_mb in (1_769, 7_076))
    assert usd(little, "Lambda", "Train") == pytest.approx(usd(much, "Lambda", "Train"), rel=0.3)
    assert little.duration_s > 2 * much.duration_s


def test_an_adam_outer_optimizer_moves_more() -> None:
    plain = estimate(settings(), LARGE, StepTime(1.0, 1, "t"))
    adam = estimate(settings(outer=OuterSettings(kind="adam")), LARGE, StepTime(1.0, 1, "t"))
    assert adam.efs_written_bytes - plain.efs_written_bytes == pytest.approx(2 * 4 * 10 * MILLION, rel=0.01)


def test_runs_of_another_model_are_no_measure() -> None:
    same, other_batch, other_model, unfinished = (
        finished_run("r-1", settings(recipe_settings={"units": 8, "learning_rate": 0.5})),
        finished_run("r-2", settings(recipe_settings={"units": 8}, batch_size=16)),
        finished_run("r-3", settings(recipe_settings={"units": 16})),
        replace(finished_run("r-4", settings(recipe_settings={"units": 8})), parameter_count=0),
    )
    found = like_before(settings(recipe_settings={"units": 8}), [other_batch, other_model, unfinished, same])
    assert [run.run_id for run in found] == ["r-1", "r-2"]


def test_an_idle_stack_costs_storage_and_little_else() -> None:
    idle = idle_cost()
    by_name = {line.name: line.usd for line in idle.lines}
    assert idle.total_usd == pytest.approx(sum(by_name.values()))
    assert by_name["Sweep"] + by_name["Sweep: requests"] == pytest.approx(0.045, abs=0.005)
    assert by_name["Lambda's polling of the queue of failed tasks"] == pytest.approx(0.26, abs=0.01)
    assert idle.total_usd < 2.0
    assert idle_cost(files_gb=100.0).total_usd - idle.total_usd == pytest.approx((100 - 0.075) * 0.35)


def finished_run(run_id: str, of: RunSettings) -> Run:
    """A run that got as far as knowing its model."""
    return Run(run_id=run_id, settings=of, code_version="1", created_at=0.0, deadline_at=1.0, parameter_count=10)


def replace_sizes(of: Sizes, **changes: Any) -> Sizes:
    """The same sizes but for some."""
    return of._replace(**changes)
