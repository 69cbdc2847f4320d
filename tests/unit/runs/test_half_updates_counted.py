"""What half the bytes of updates change in the estimate and in what is held back for an attempt."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from contracts.records import FileRef, Run
from contracts.settings import RunSettings
from runs.sizes import Sizes, StepTime
from runs.transfer import most
from runs.workload import Workload
from simulation.world import fault_free, settings
from training.shards import plan_rounds

PARAMETERS = 10_000_000
SIZES = Sizes(PARAMETERS, 0, 0, 60_000, 0, 10_000, 1_000_000, 100_000, "made up")


def both(**changes: object) -> tuple[RunSettings, RunSettings]:
    whole = settings(workers=64, concurrency=64, slices=None, **changes)
    return whole, replace(whole, update_dtype="bfloat16")


def workload(run_settings: RunSettings) -> Workload:
    return Workload(run_settings, SIZES, StepTime(0.01, 1, "made up"), plan_rounds(SIZES.examples, run_settings))


def test_half_as_many_slices_for_half_the_bytes() -> None:
    assert [workload(one).slices for one in both()] == [38, 19]


def test_what_a_combine_reads_halves_and_workers_keep_the_rest() -> None:
    whole, half = (workload(replace(one, slices=4)) for one in both())
    combine = [one.files.of("combine").read_bytes / one.rounds for one in (whole, half)]
    assert combine[0] - combine[1] == pytest.approx(64 * 2 * PARAMETERS, rel=0.01)
    train = [one.files.of("train") for one in (whole, half)]
    assert train[1].written_bytes == pytest.approx(train[0].written_bytes, rel=0.01)
    more = (train[1].read_bytes - train[0].read_bytes) / whole.rounds
    assert more == pytest.approx(64 * 2 * PARAMETERS, rel=0.01)


def test_less_is_held_back_for_a_combine_and_more_for_a_worker() -> None:
    vector = FileRef(path="p", bytes=4 * PARAMETERS, count=PARAMETERS, parts=("0",))
    whole, half = (
        Run(
            run_id="r-0001",
            settings=one,
            code_version="1",
            created_at=0.0,
            deadline_at=1.0,
            slice_bounds=(0, PARAMETERS),
            parameters=(vector,),
        )
        for one in both()
    )
    assert most(half, "combine").read_bytes < 0.55 * most(whole, "combine").read_bytes
    assert most(half, "train").written_bytes > most(whole, "train").written_bytes


def test_no_attempt_of_a_run_moves_more_than_was_held_back() -> None:
    run_settings = settings(update_dtype="bfloat16", workers=2, epochs=2)
    store = fault_free(run_settings, train_examples=40, val_examples=5).store
    run = store.runs["r-simulated"]
    for task in store.tasks.values():
        for record in task.history:
            bound = most(run, task.key.kind)
            assert record.transfer.read_bytes <= bound.read_bytes
            assert record.transfer.written_bytes <= bound.written_bytes
