"""Which examples are shown, what is said of them, and the confusion counts."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.records import RoundPlan
from contracts.settings import RunSettings
from training.samples import Answers, confusion, looks, sample_rows
from training.shards import is_first_validation, is_validation_round, validation_part


@pytest.mark.parametrize("examples", [0, 1, 7, 48, 49, 100, 12_000])
def test_samples_are_evenly_spaced_and_all_different(examples: int) -> None:
    rows = sample_rows(examples)
    assert len(rows) == min(48, examples) == len(set(rows.tolist()))
    assert all(0 <= row < examples for row in rows)
    gaps = set(np.diff(rows).tolist())
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert rows.tolist() == sample_rows(examples).tolist()


@pytest.mark.parametrize(("examples", "workers"), [(180, 1), (180, 7), (20, 3), (5, 8)])
def test_each_sample_is_looked_at_by_the_worker_whose_part_it_lies_in(examples: int, workers: int) -> None:
    random = np.random.default_rng(examples)
    every = Answers(
        random.integers(0, 10, examples), random.integers(0, 10, examples), random.random(examples, np.float32)
    )
    seen: list[int] = []
    counted = 0
    for worker in range(workers):
        low, high = validation_part(examples, workers, worker)
        if low == high:
            continue
        part = looks(Answers(*(values[low:high] for values in every)), low, examples)
        assert all(low <= row < high for row in part.examples)
        assert part.truths == tuple(every.truths[list(part.examples)])
        assert part.predicted == tuple(every.predicted[list(part.examples)])
        assert part.confidences == pytest.approx(every.confidences[list(part.examples)], abs=1e-4)
        counted += sum(count for _, _, count in part.confusion)
        seen += part.examples
    assert seen == sample_rows(examples).tolist() and counted == examples


def test_what_is_no_number_has_no_confidence() -> None:
    answers = Answers(np.zeros(3, np.int64), np.zeros(3, np.int64), np.array([np.nan, 1.5, -0.5], np.float32))
    assert looks(answers, 0, 3).confidences == (0.0, 1.0, 0.0)


def test_confusion_counts_each_pair_of_classes() -> None:
    random = np.random.default_rng(1)
    truths, predicted = random.integers(0, 4, (2, 500))
    cells = confusion(Answers(truths, predicted, np.ones(500, np.float32)))
    wanted = {(a, b): int(((truths == a) & (predicted == b)).sum()) for a in range(4) for b in range(4)}
    assert {(a, b): count for a, b, count in cells} == {pair: count for pair, count in wanted.items() if count}
    assert [count for *_, count in cells] == sorted((count for *_, count in cells), reverse=True)


def test_the_smallest_counts_are_left_out_where_there_are_too_many() -> None:
    truths = np.repeat(np.arange(2_100), 1)
    truths = np.concatenate([truths, np.full(5, 2_099)])
    cells = confusion(Answers(truths, truths, np.ones(len(truths), np.float32)))
    assert len(cells) == 2_000 and cells[0] == (2_099, 2_099, 6)


@pytest.mark.parametrize(("every", "first"), [(None, 4), (1, 2), (5, 6)])
def test_the_first_validation_is_one(every: int | None, first: int) -> None:
    plan = RoundPlan(examples=30, examples_per_round=10, rounds_per_epoch=3, epochs_per_round=1, total_rounds=12)
    settings = RunSettings(
        recipe="a", recipe_digest="b", dataset="c", workers=2, batch_size=4, epochs=4, validate_every_rounds=every
    )
    validating = [index for index in range(1, 13) if is_validation_round(plan, settings, index)]
    assert [index for index in range(1, 13) if is_first_validation(plan, settings, index)] == validating[:1] == [first]
