"""One run as it comes in: the grid of steps, what changed since when, and the history for bills."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dashboard_samples import LATER_S, SHAPE, State, make_sample, sample_run, sample_snapshot, sample_source
from msgspec.structs import replace

from contracts.errors import StoreCorrupted
from contracts.records import RoundPlan, Run, StepBatch
from dashboard.queries.collector import Collector
from dashboard.queries.run_data import MAX_CHANGES, RunData, RunSnapshot
from dashboard.queries.step_grid import planned_steps
from fakes.memory_store import MemoryStore
from runs.bill import make_bill
from runs.summary import load, summarise
from stores.sqlite import SqliteStore
from training import shards


def batch(worker: int, round_index: int, first_step: int, losses: list[float], **changes: object) -> StepBatch:
    values = {
        "worker_index": worker,
        "round_index": round_index,
        "attempt": 1,
        "first_step": first_step,
        "ended_at": 1000.0,
        "losses": tuple(losses),
        "examples": (8,) * len(losses),
        "durations_ms": (500.0,) * len(losses),
    }
    return StepBatch(**(values | changes))  # type: ignore[arg-type]


def data_of(workers: int = 2, plan: RoundPlan | None = None, **shape: object) -> RunData:
    run = sample_run(MemoryStore(), workers=workers, **shape)
    return RunData(replace(run, plan=plan))


def seen(data: RunData, revision: int = 1) -> RunSnapshot:
    return data.snapshot(revision, 0.0, False, sample_source(MemoryStore()))


def planned(run: Run, examples: int) -> RoundPlan:
    return shards.plan_rounds(examples, run.settings)


# --- the grid ---


def test_a_batch_lies_where_its_steps_were_done() -> None:
    data = data_of()
    data.add_steps([batch(1, 1, 0, [3.0, 2.0, 1.0], accuracies=(0.25, 0.5, 0.75))])
    steps = seen(data).steps
    assert steps.loss.shape == (2, 3)
    assert np.isnan(steps.loss[0]).all()
    assert steps.loss[1].tolist() == [3.0, 2.0, 1.0]
    assert steps.accuracy[1].tolist() == [0.25, 0.5, 0.75]
    assert steps.examples.tolist() == [[0, 0, 0], [8, 8, 8]]
    assert steps.at[1].tolist() == [999.0, 999.5, 1000.0]
    assert steps.round_index.tolist() == [1, 1, 1]


def test_runs_of_before_have_no_accuracies() -> None:
    data = data_of()
    data.add_steps([batch(0, 1, 0, [3.0])])
    assert np.isnan(seen(data).steps.accuracy).all()


def test_blocks_of_features_are_no_steps() -> None:
    data = data_of()
    assert data.add_steps([batch(1, 0, 3, []), batch(1, 0, 2, []), batch(0, 0, 1, [])])
    snapshot = seen(data)
    assert snapshot.told_blocks == {1: 3, 0: 1}
    assert snapshot.columns == 0
    assert sum(packed.steps for packed in snapshot.packed_steps) == 0
    with pytest.raises(StoreCorrupted):
        data.add_steps([batch(2, 0, 3, [])])


def test_rounds_begin_together_though_one_worker_has_a_step_less() -> None:
    run = sample_run(MemoryStore(), workers=2, batch_size=2, steps_per_round=2, rounds=3)
    data = data_of(2, planned(run, 7), batch_size=2, steps_per_round=2, rounds=3)
    # Round 1 has 7 of 7 examples: worker 0 has 3 of them, worker 1 has 4.
    for round_index in (1, 2):
        data.add_steps([batch(1, round_index, 0, [1.0, 1.0]), batch(0, round_index, 0, [2.0])])
    steps = seen(data).steps
    assert steps.round_index.tolist() == [1, 1, 2, 2]
    assert np.isnan(steps.loss[0]).tolist() == [False, True, False, True]


@pytest.mark.parametrize("examples", [64, 100, 237, 1000])
@pytest.mark.parametrize(
    "settings", [{"rounds": 9}, {"rounds": None, "epochs": 3}, {"rounds": 4, "steps_per_round": 90}]
)
def test_the_planned_steps_are_those_of_the_shards(examples: int, settings: dict[str, int | None]) -> None:
    run = sample_run(MemoryStore(), workers=3, steps_per_round=5, batch_size=4)
    chosen = replace(run.settings, **settings)
    plan = shards.plan_rounds(examples, chosen)
    for round_index in range(1, plan.total_rounds + 1):
        pieces = [shards.shard(plan, chosen, round_index, worker) for worker in range(3)]
        most = max(sum(-(-len(rows) // 4) for rows in of_worker) for of_worker in pieces)
        assert planned_steps(plan, chosen, round_index) == most


def test_without_a_plan_a_round_makes_way_for_a_longer_one() -> None:
    data = data_of()
    data.add_steps([batch(0, 1, 0, [1.0, 2.0]), batch(0, 2, 0, [5.0, 6.0])])
    before = seen(data, 1)
    data.add_steps([batch(1, 1, 0, [1.0, 2.0, 3.0])])
    after = seen(data, 2)
    assert after.steps.round_index.tolist() == [1, 1, 1, 2, 2]
    assert after.steps.loss[0].tolist()[:2] == [1.0, 2.0]
    assert np.isnan(after.steps.loss[0, 2])
    assert after.steps.loss[0].tolist()[3:] == [5.0, 6.0]
    assert after.first_changed_column(1) == 0
    assert before.steps.loss[0].tolist() == [1.0, 2.0, 5.0, 6.0]
    assert before.steps.round_index.tolist() == [1, 1, 2, 2]


def test_any_order_of_batches_gives_the_same_grid() -> None:
    draw = np.random.default_rng(3)
    widths = [int(width) for width in draw.integers(1, 9, 12)]
    batches = [
        batch(worker, index, low, [100.0 * index + low + 0.5 * worker])
        for index, width in enumerate(widths, start=1)
        for worker in range(3)
        for low in range(width)
    ]
    in_order = data_of(3)
    in_order.add_steps(batches)
    expected = seen(in_order).steps
    assert len(expected.round_index) == sum(widths)
    for _ in range(5):
        mixed = data_of(3)
        for place in draw.permutation(len(batches)):
            mixed.add_steps([batches[place]])
        for one, two in zip(seen(mixed).steps, expected, strict=True):
            np.testing.assert_array_equal(one, two)


def test_it_grows_past_what_was_set_aside() -> None:
    data = data_of(1)
    for round_index in range(1, 41):
        data.add_steps([batch(0, round_index, 0, [float(round_index)] * 100)])
    steps = seen(data).steps
    assert steps.loss[0].tolist() == [float(index) for index in range(1, 41) for _ in range(100)]
    assert steps.round_index.tolist() == [index for index in range(1, 41) for _ in range(100)]


def test_what_is_given_out_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        sample_snapshot().steps.loss[0, 0] = 1.0


@pytest.mark.parametrize(
    "damage",
    [
        {"worker_index": 2},
        {"worker_index": -1},
        {"round_index": 0},
        {"first_step": -1},
        {"first_step": 10**12},
        {"first_step": 10**7 * 9},
        {"round_index": 10**9},
        {"examples": (1,)},
        {"durations_ms": ()},
        {"accuracies": (0.5, 0.5, 0.5)},
    ],
)
def test_a_damaged_batch_is_refused_with_a_number(damage: dict[str, object]) -> None:
    with pytest.raises(StoreCorrupted):
        data_of().add_steps([replace(batch(0, 1, 0, [1.0, 2.0]), **damage)])


# --- steps done again ---


def test_steps_done_again_replace_themselves() -> None:
    data = data_of()
    data.add_steps([batch(0, 1, 0, [9.0] * 4), batch(0, 1, 4, [9.0] * 4)])
    seen(data, 1)
    data.add_steps([batch(0, 1, 2, [1.0] * 3, attempt=2, ended_at=2000.0)])
    after = seen(data, 2)
    assert after.steps.loss[0].tolist() == [9.0, 9.0, 1.0, 1.0, 1.0, 9.0, 9.0, 9.0]
    assert after.first_changed_column(1) == 2
    assert after.history().packed_steps[0].steps == 8
    assert sum(packed.steps for packed in after.history().packed_steps) == 11  # all that were computed


def test_a_batch_that_is_stored_anew_counts_once() -> None:
    data = data_of()
    data.add_steps([batch(0, 1, 0, [9.0] * 4)] * 2)
    assert [packed.steps for packed in seen(data).packed_steps] == [4]


def test_after_a_hand_over_and_a_lost_worker_no_step_is_missing_or_out_of_turn() -> None:
    steps = sample_snapshot(troubles=True).steps
    assert steps.loss.shape == (4, 120)
    assert np.isfinite(steps.loss).all()
    assert (np.diff(steps.at, axis=1) > 0).all()
    assert (steps.round_index == np.repeat(np.arange(1, 7), 20)).all()


def test_of_predictions_the_last_attempt_counts_and_all_are_paid_for() -> None:
    first = sample_snapshot().predictions[0]
    data = data_of(4)
    for attempt in (2, 1, 3, 3):
        data.add_predictions([replace(first, attempt=attempt)])
    snapshot = seen(data)
    assert [batch.attempt for batch in snapshot.predictions] == [3]
    assert sorted(batch.attempt for batch in snapshot.history().predictions) == [1, 2, 3]


# --- what changed ---


def test_only_columns_from_the_change_on_are_told() -> None:
    data = data_of()
    data.add_steps([batch(0, 1, 0, [1.0] * 10)])
    seen(data, 5)
    data.add_steps([batch(0, 1, 10, [1.0] * 5)])
    seen(data, 6)
    data.add_steps([batch(1, 1, 3, [1.0] * 2)])
    seen(data, 9)
    data.add_steps([batch(0, 1, 15, [1.0])])
    last = seen(data, 12)
    assert [last.first_changed_column(since) for since in (0, 4, 5, 6, 8, 9, 11)] == [0, 0, 3, 3, 3, 15, 15]
    assert last.first_changed_column(12) == last.columns == 16


def test_of_many_changes_the_oldest_are_told_too_early_rather_than_too_late() -> None:
    data = data_of(1)
    for step in range(2 * MAX_CHANGES):
        data.add_steps([batch(0, 1, step, [1.0])])
        last = seen(data, step + 1)
    assert len(last.changes) == MAX_CHANGES
    for since in range(2 * MAX_CHANGES):
        assert last.first_changed_column(since) <= since
    assert last.first_changed_column(2 * MAX_CHANGES - 1) == 2 * MAX_CHANGES - 1


def test_the_newest_time_is_that_of_the_last_thing_known() -> None:
    store = MemoryStore()
    made = make_sample(store, SHAPE, "running")
    snapshot = Collector(sample_source(store), clock=lambda: made.now).look(SHAPE.run_id)
    assert snapshot.newest_at == pytest.approx(made.now)
    # The backup's victim is billed to its time limit, which says nothing of when it was last heard of.
    troubled = sample_snapshot(troubles=True)
    assert troubled.newest_at == troubled.run.ended_at


# --- the history ---


@pytest.mark.parametrize("state", ["pending", "preparing", "running", "finished", "failed", "cancelled"])
@pytest.mark.parametrize("troubles", [False, True])
def test_the_bill_is_that_of_the_command_line(tmp_path: Path, state: State, troubles: bool) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    made = make_sample(store, SHAPE._replace(troubles=troubles), state)
    now = made.now + LATER_S
    ours = Collector(sample_source(store), clock=lambda: now).look(made.run.run_id).history()
    theirs = load(store, store, made.run.run_id)
    assert make_bill(ours, now) == make_bill(theirs, now)
    one, two = summarise(ours, now), summarise(theirs, now)
    assert one.elapsed_s == pytest.approx(two.elapsed_s)
    assert [(worker.steps, worker.attempts) for worker in one.workers] == [
        (worker.steps, worker.attempts) for worker in two.workers
    ]
    assert [worker.step_s for worker in one.workers] == pytest.approx([worker.step_s for worker in two.workers])
    store.close()


def test_a_long_silence_stays_one() -> None:
    data = data_of()
    data.add_steps([batch(0, 1, 0, [1.0]), batch(0, 1, 1, [1.0], ended_at=1050.0), batch(0, 2, 0, [1.0], ended_at=5e3)])
    assert [(packed.began_at, packed.ended_at) for packed in seen(data).packed_steps] == [
        (999.5, 1050.0),
        (4999.5, 5e3),
    ]
