"""Shards are disjoint, complete and never empty, whatever is asked."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.records import RoundPlan
from contracts.settings import RunSettings
from training.shards import epoch_order, epochs_of_round, is_validation_round, plan_rounds, shard, validation_part


def settings(**changes: object) -> RunSettings:
    values = {"recipe": "a", "recipe_digest": "b", "dataset": "c", "workers": 3, "batch_size": 4, "epochs": 2}
    return RunSettings(**(values | changes))  # type: ignore[arg-type]


runs = st.builds(
    settings,
    workers=st.integers(1, 9),
    batch_size=st.integers(1, 40),
    epochs=st.integers(1, 4),
    steps_per_round=st.none() | st.integers(1, 60),
    sync=st.sampled_from(["local", "gradients"]),
    seed=st.integers(0, 2**40),
)


@given(runs, st.integers(0, 300), st.sampled_from([1, 7, 16]))
def test_every_epoch_is_seen_once_by_all_workers_together(run: RunSettings, more: int, block_rows: int) -> None:
    examples = run.workers + more
    plan = plan_rounds(examples, run)
    seen: list[np.ndarray] = []
    for round_index in range(1, plan.total_rounds + 1):
        for worker_index in range(run.workers):
            pieces = shard(plan, run, round_index, worker_index, block_rows)
            assert all(len(piece) for piece in pieces), "no shard is empty"
            seen += pieces
    counts = np.bincount(np.concatenate(seen), minlength=examples)
    assert run.epochs is not None
    assert (counts == run.epochs).all()


@given(st.integers(1, 6), st.integers(1, 8), st.integers(1, 5))
def test_a_round_has_the_same_examples_for_any_number_of_workers(workers: int, batch: int, steps: int) -> None:
    examples = 40 * workers  # so that no round is left with fewer examples than workers
    many = settings(workers=workers, batch_size=batch, steps_per_round=steps)
    one = settings(workers=1, batch_size=batch * workers, steps_per_round=steps)
    plan, plan_of_one = plan_rounds(examples, many), plan_rounds(examples, one)
    for round_index in range(1, min(plan.total_rounds, plan_of_one.total_rounds)):
        together = np.concatenate([shard(plan, many, round_index, i)[0] for i in range(workers)])
        assert together.tolist() == shard(plan_of_one, one, round_index, 0)[0].tolist()


def test_full_rounds_have_no_ragged_batch() -> None:
    run = settings(workers=2, batch_size=8, steps_per_round=5, epochs=1)
    plan = plan_rounds(203, run)
    sizes = [[len(shard(plan, run, r, i)[0]) for i in range(2)] for r in range(1, plan.total_rounds + 1)]
    assert sizes == [[40, 40], [40, 40], [21, 22]]


def test_more_steps_than_an_epoch_has_make_rounds_of_whole_epochs() -> None:
    run = settings(workers=2, batch_size=5, steps_per_round=25, epochs=5)
    plan = plan_rounds(100, run)  # 10 steps an epoch
    expected = RoundPlan(examples=100, examples_per_round=100, rounds_per_epoch=1, epochs_per_round=2, total_rounds=3)
    assert plan == expected
    assert [list(epochs_of_round(plan, r, run.epochs)) for r in (1, 2, 3)] == [[0, 1], [2, 3], [4]]


def test_the_default_is_about_twelve_rounds_an_epoch() -> None:
    plan = plan_rounds(54_000, settings(workers=2, batch_size=32, epochs=3))
    assert (plan.rounds_per_epoch, plan.total_rounds) == (12, 36)


def test_gradients_step_once_a_batch() -> None:
    plan = plan_rounds(1_000, settings(workers=4, batch_size=10, sync="gradients", epochs=1))
    assert plan.total_rounds == 25


def test_rounds_may_end_within_an_epoch() -> None:
    run = settings(epochs=None, rounds=3, workers=1, batch_size=2, steps_per_round=1)
    assert plan_rounds(100, run).total_rounds == 3


def test_order_depends_on_seed_and_epoch_alone() -> None:
    assert epoch_order(50, 1, 0).tolist() == epoch_order(50, 1, 0).tolist()
    assert epoch_order(50, 1, 0).tolist() != epoch_order(50, 1, 1).tolist()
    assert epoch_order(50, 1, 0).tolist() != epoch_order(50, 2, 0).tolist()


def test_blocks_stay_together() -> None:
    order = epoch_order(100, 3, 0, block_rows=10).reshape(10, 10)
    assert (np.diff(order) == 1).all()


@given(st.integers(0, 100), st.integers(1, 20))
def test_validation_is_cut_without_gap(examples: int, workers: int) -> None:
    cuts = [validation_part(examples, workers, i) for i in range(workers)]
    assert cuts[0][0] == 0 and cuts[-1][1] == examples
    assert all(left[1] == right[0] for left, right in pairwise(cuts))


@pytest.mark.parametrize(("every", "rounds"), [(None, [13, 25]), (5, [6, 11, 16, 21, 26]), (1, list(range(2, 28)))])
def test_validation_once_an_epoch_unless_asked_otherwise(every: int | None, rounds: list[int]) -> None:
    run = settings(workers=1, batch_size=10, steps_per_round=1, validate_every_rounds=every)
    plan = plan_rounds(120, run)
    assert [r for r in range(1, 28) if is_validation_round(plan, run, r)] == rounds
