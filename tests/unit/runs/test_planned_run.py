"""The sums for a planned run are those of the run: compared with what simulated ones were metered with."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.records import Run, TaskKind
from contracts.settings import OuterSettings, RunSettings
from runs.bill import recorded_usage
from runs.growth import VALUE_BYTES
from runs.planned_files import PlannedFiles, _array_read
from runs.sizes import Sizes, StepTime
from runs.summary import RunHistory, load
from runs.usage import Usage
from runs.workload import Workload, side_by_side
from simulation.world import RUN_ID, fault_free, settings
from training.shards import plan_rounds

EXAMPLES, VALIDATION = 40, 5
TINY = Sizes(10_000, 0, 0, 6_400, 640, 1_000, 640_000, 100_000, "made up")

CASES: list[dict[str, Any]] = [
    {"workers": 2},
    {"workers": 2, "outer": OuterSettings(kind="sgd", learning_rate=1.0)},
    {"workers": 2, "outer": OuterSettings(kind="adam")},
    {"workers": 3, "slices": 2},
    {"workers": 2, "slices": 1, "update_dtype": "bfloat16"},
    {"workers": 4, "slices": 1, "validate_every_rounds": 2},
]


@pytest.fixture(scope="module", params=CASES, ids=str)
def history(request: pytest.FixtureRequest) -> RunHistory:
    """A run without faults; all is real but the training and the data set."""
    world = fault_free(settings(epochs=6, **request.param), train_examples=EXAMPLES, val_examples=VALIDATION)
    return load(world.store, world.store, RUN_ID)


def planned(run: Run) -> Workload:
    state, constants = (ref.bytes if ref else 0 for ref in (run.initial_state, run.constants))
    sizes = Sizes(run.parameter_count, state, constants, EXAMPLES, VALIDATION, 0, 0, 0, "its run")
    assert run.plan is not None
    return Workload(run.settings, sizes, StepTime(0.001, 1, "made up"), run.plan)


def moved(history: RunHistory, kind: TaskKind) -> tuple[int, int, int]:
    """Attempts, bytes read and bytes written of a kind of task."""
    records = [record for task in history.tasks if task.key.kind == kind for record in task.history]
    found = [record.transfer for record in records]
    return len(found), sum(one.read_bytes for one in found), sum(one.written_bytes for one in found)


@pytest.mark.parametrize("kind", ["initialise", "combine"])
def test_bytes_are_counted_exactly(history: RunHistory, kind: TaskKind) -> None:
    transfer = planned(history.run).files.of(kind)
    assert moved(history, kind)[1:] == (transfer.read_bytes, transfer.written_bytes)


def test_workers_bytes_are_counted_but_for_the_data_which_a_simulated_worker_does_not_read(history: RunHistory) -> None:
    files = planned(history.run).files
    data = files.environments * (4 if files.validations else 2) * _array_read(0)
    transfer = files.of("train")
    _, read, written = moved(history, "train")
    assert written == transfer.written_bytes
    assert read == pytest.approx(transfer.read_bytes - data, rel=0.15), "environments come and go there"


def test_every_task_is_counted(history: RunHistory) -> None:
    work = planned(history.run)
    for kind in ("prepare", "initialise", "train", "combine", "evaluate", "clear"):
        assert moved(history, kind)[0] == work._count(kind), kind


def test_units_of_the_table_are_those_of_the_runs_records(history: RunHistory) -> None:
    recorded, units = recorded_usage(history, history.run.ended_at), planned(history.run).table_units()
    assert units.writes == pytest.approx(recorded.table_writes, rel=0.1)
    assert units.reads == pytest.approx(recorded.table_reads, rel=0.1)


def usage(sizes: Sizes = TINY, **changes: Any) -> Usage:
    values: dict[str, Any] = {"workers": 4, "concurrency": 4, "rounds": 20, "steps_per_round": 10, "batch_size": 16}
    asked = RunSettings(recipe="r", recipe_digest="0", dataset="d", **values | changes)
    return Workload(asked, sizes, StepTime(0.001, 1, "made up"), plan_rounds(sizes.examples, asked)).usage()


def test_bytes_grow_with_workers_and_with_parameters_and_requests_with_workers_and_rounds() -> None:
    large = TINY._replace(parameters=10_000_000)
    four, eight = (usage(large, workers=workers, concurrency=workers, slices=1) for workers in (4, 8))
    assert eight.transfer.written_bytes == pytest.approx(1.66 * four.transfer.written_bytes, rel=0.02)
    twice = usage(large._replace(parameters=2 * large.parameters), slices=1)
    assert twice.transfer.read_bytes == pytest.approx(2 * four.transfer.read_bytes, rel=0.02)
    short, long = (usage(rounds=rounds) for rounds in (20, 40))
    assert long.table_writes == pytest.approx(2 * short.table_writes, rel=0.1)
    assert long.invocations == pytest.approx(2 * short.invocations, rel=0.1)


def test_environments_that_serve_many_workers_read_the_parameters_once_a_round() -> None:
    large = TINY._replace(parameters=10_000_000)
    few, many = (usage(large, concurrency=concurrency, slices=1) for concurrency in (2, 4))
    more = many.transfer.read_bytes - few.transfer.read_bytes
    assert more == pytest.approx(20 * 2 * VALUE_BYTES * large.parameters, rel=0.02)


def test_where_few_workers_are_at_once_the_budget_is_granted_to_one_after_the_other() -> None:
    few, many = (usage(workers=16, concurrency=places, in_flight_per_place=1) for places in (2, 16))
    assert few.table_writes > many.table_writes + 20 * (16 - 2)


def test_three_workers_on_two_cores_take_turns() -> None:
    assert [side_by_side(workers, 2, 1) for workers in (1, 2, 3, 4)] == [1, 2, 1.5, 2]
    assert side_by_side(4, 8, 4) == 2
    assert side_by_side(4, 2, 4) == 1, "more threads than cores: one at a time"


def test_rounds_that_leave_little_are_cleared_several_at_a_time() -> None:
    asked = settings(workers=2, rounds=20, epochs=None)
    small, large = (PlannedFiles(asked, TINY._replace(parameters=count), 1, 20, 0) for count in (1_000, 10**7))
    assert (small.clearings, large.clearings) == (3, 19)
