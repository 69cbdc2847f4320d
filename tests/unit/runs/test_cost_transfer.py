"""What the shared file system bills is measured, bounded before, and part of the budget."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from contracts.records import FileRef, Run, TaskKind, Transfer
from fakes.memory_files import MemoryFiles
from runs import budget
from runs.cost import attempt_cost_usd, reservation_usd, transfer_cost_usd
from runs.stages import visible_tasks
from runs.transfer import MeteredFiles, metered_bytes, metering, most
from simulation.world import Faults, World, fault_free, settings

KIB = 1024
VECTOR_BYTES = 40_000_000


def large_run(**changes: Any) -> Run:
    """Ten million parameters and 256 workers, with data of 1 GB."""
    vector = FileRef(path="p", bytes=VECTOR_BYTES, count=10_000_000, parts=("0",))
    values: dict[str, Any] = {
        "run_id": "r-0001",
        "settings": settings(workers=256, concurrency=256, time_limit_s=900.0),
        "code_version": "1",
        "created_at": 0.0,
        "deadline_at": 1.0,
        "status": "RUNNING",
        "phase": "TRAINING",
        "round_index": 1,
        "slice_bounds": (0, 10_000_000),
        "parameters": (vector,),
        "data_facts": {"files": {"x_train": {"bytes": 900_000_000}, "x_val": {"bytes": 100_000_000}}},
    }
    return Run(**values | changes)


@pytest.mark.parametrize(
    ("count", "metered"), [(1, 32 * KIB), (32 * KIB, 32 * KIB), (32 * KIB + 1, 33 * KIB), (100 * KIB, 100 * KIB)]
)
def test_a_data_operation_counts_as_32_kib_at_least_and_in_steps_of_1_kib(count: int, metered: int) -> None:
    assert metered_bytes(count) == metered


def test_what_goes_through_the_files_is_measured() -> None:
    files = MeteredFiles(MemoryFiles())
    with metering() as meter:
        files.write("a", [bytes(40 * KIB)], durable=True)
        assert meter.transfer == Transfer(read_bytes=0, written_bytes=(40 + 2 * 4) * KIB)
        assert len(files.read("a")) == 40 * KIB
        with files.open("a") as file:
            file.read_into(0, bytearray(10))
            file.read_into(10, bytearray(33 * KIB))
    assert meter.transfer.read_bytes == (4 + 40) * KIB + (4 + 32 + 33) * KIB
    files.read("a")
    assert meter.transfer.read_bytes == 113 * KIB, "nothing is counted outside"


def test_one_execution_does_not_pay_for_another() -> None:
    files = MeteredFiles(MemoryFiles())
    with metering() as outer:
        with metering() as inner:
            files.write("a", [b"x"], durable=False)
        files.read("a")
    assert (inner.transfer.read_bytes, outer.transfer.written_bytes) == (0, 0)


def test_a_round_of_256_workers_and_ten_million_parameters_costs_more_in_transfer_than_in_compute() -> None:
    """The worked example of docs/costs.md: $1.23 against $0.26."""
    worker = Transfer(read_bytes=VECTOR_BYTES, written_bytes=VECTOR_BYTES)
    combine = Transfer(read_bytes=256 * VECTOR_BYTES)
    transfer_usd = 256 * transfer_cost_usd(worker) + transfer_cost_usd(combine)
    compute_usd = 256 * attempt_cost_usd("train", 30.0, settings(memory_mb=2048))
    assert transfer_usd == pytest.approx(1.2288)
    assert compute_usd == pytest.approx(0.256, rel=0.01)


def test_a_reservation_holds_the_time_limit_and_all_that_may_be_moved() -> None:
    run = large_run()
    held_usd = budget.attempt_reservation_usd(run, "train")
    time_usd = reservation_usd("train", run.settings)
    # Parameters and a checkpoint are read, and 1 GB of data; a checkpoint is written.
    moved_usd = (0.04 + 0.08 + 1.0) * 0.03 + 0.08 * 0.06
    assert held_usd - time_usd == pytest.approx(moved_usd, rel=0.03)
    combine = most(run, "combine")
    assert combine.read_bytes > 256 * VECTOR_BYTES
    assert most(replace(run, slice_bounds=(0, 5_000_000, 10_000_000)), "combine").read_bytes < combine.read_bytes * 0.52


def test_before_the_sizes_are_known_half_of_a_workers_memory_is_held_back() -> None:
    unknown = large_run(parameters=(), data_facts={}, round_index=0)
    for kind in ("prepare", "initialise"):
        assert most(unknown, kind).written_bytes >= unknown.settings.memory_mb * KIB * KIB // 2
    assert budget.least_usd(unknown.settings) == budget.attempt_reservation_usd(unknown, "initialise")


def test_no_attempt_of_a_whole_run_moves_more_than_was_held_back() -> None:
    world = fault_free(settings())
    run = world.store.runs["r-simulated"]
    kinds: set[TaskKind] = set()
    for (_, key), task in world.store.tasks.items():
        for record in task.history:
            bound = most(run, key.kind)
            assert record.transfer.read_bytes <= bound.read_bytes, key
            assert record.transfer.written_bytes <= bound.written_bytes, key
            assert record.transfer != bound, "it was measured"
            kinds.add(key.kind)
    assert {"prepare", "initialise", "train", "combine", "evaluate", "clear"} == kinds


def test_a_crashed_attempt_is_billed_with_all_that_it_may_have_moved() -> None:
    lost, unread = [], ("prepare", "initialise")
    for seed in range(8):
        world = World(seed, settings(), Faults(crash=0.2, freeze=0, tear=0))
        run = world.run()
        histories = [(key.kind, record) for (_, key), task in world.store.tasks.items() for record in task.history]
        lost += [(run, kind, record) for kind, record in histories if record.outcome == "lost" and kind in unread]
    assert lost
    for run, kind, record in lost:
        assert record.transfer == most(run, kind)
        assert record.cost_usd > transfer_cost_usd(record.transfer) > 0


class WatchedWorld(World):
    """Looks after every turn whether more is spent and held back than there is."""

    def _turn(self) -> bool:
        moves = super()._turn()
        run = self.store.runs["r-simulated"]
        tasks = visible_tasks(run, {key: task for (_, key), task in self.store.tasks.items()})
        if not run.ended:
            held_usd = sum(budget.open_reservations(run, tasks).values())
            assert budget.spent_usd(run, tasks) + held_usd <= run.settings.max_cost_usd + 1e-12
        return moves


@pytest.mark.parametrize("max_cost_usd", [0.7, 1.3, 2.0])
def test_a_budget_is_never_overshot_transfer_included(max_cost_usd: float) -> None:
    # 20 GB of data cost $0.60 a new environment; who crashes has perhaps read them.
    facts: dict[str, Any] = {"train_examples": 37, "val_examples": 5, "files": {"x_train": {"bytes": 20_000_000_000}}}
    reasons = set()
    for seed in range(6):
        world = WatchedWorld(seed, settings(max_cost_usd=max_cost_usd), Faults(crash=0.2), facts)
        run = world.run()
        everything_usd = sum(task.cost_usd for task in world.store.tasks.values())
        assert everything_usd <= max_cost_usd
        reasons.add(run.reason)
    assert "budget" in reasons
