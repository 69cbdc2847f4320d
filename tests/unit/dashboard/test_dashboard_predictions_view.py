"""What is made of the predictions that workers sent."""

from __future__ import annotations

from typing import Any

import pytest
from dashboard_samples import sample_snapshot
from msgspec.structs import replace

from contracts.records import PredictionBatch, Run
from dashboard.views.predictions import (
    RIGHT,
    UNKNOWN,
    WRONG,
    confusion_matrix,
    image_shape,
    newest_parameters_round,
    predictions,
)
from dashboard.views.recorded_predictions import recorded_predictions


@pytest.fixture(scope="module")
def run() -> Run:
    return sample_snapshot().run


def batch(parameters_round: int = 1, worker: int = 0, **changes: Any) -> PredictionBatch:
    """Two samples of a worker, the first one right."""
    first = worker * 10
    values: dict[str, Any] = {
        "worker_index": worker,
        "parameters_round": parameters_round,
        "attempt": 1,
        "made_at": 100.0,
        "examples": (first, first + 5),
        "truths": (4, 9),
        "predicted": (4, 4),
        "confidences": (0.9, 0.6),
        "confusion": ((4, 4, 30), (9, 4, 7)),
    }
    return PredictionBatch(**values | changes)


def test_samples_of_all_workers_in_order(run: Run) -> None:
    found = predictions(run, [batch(worker=1), batch(images=(b"\x89PNG0", b"\x89PNG5"))], validated=True)
    newest = found.newest
    assert [sample.example for sample in newest.samples] == [0, 5, 10, 15]
    assert [sample.picture for sample in newest.samples] == [b"\x89PNG0", b"\x89PNG5", b"", b""]
    assert (newest.right, newest.workers, found.workers) == (2, 2, 2)
    assert found.pictures == {0: b"\x89PNG0", 5: b"\x89PNG5"}


def test_pictures_of_the_first_checkpoint_are_those_of_all(run: Run) -> None:
    found = predictions(run, [batch(images=(b"\x89PNG0", b"\x89PNG5")), batch(5)], validated=True)
    assert [one.parameters_round for one in found.checkpoints] == [1, 5]
    assert found.newest.samples[0].picture == b"\x89PNG0"


def test_the_later_attempt_counts(run: Run) -> None:
    again = batch(attempt=2, made_at=90.0, predicted=(4, 9))
    assert predictions(run, [again, batch()], validated=True).newest.right == 2


def test_history_over_checkpoints(run: Run) -> None:
    batches = [
        batch(1),
        batch(2, predicted=(1, 9)),
        batch(3, examples=(0,), truths=(4,), predicted=(4,), confidences=(1,)),
    ]
    found = predictions(run, batches, validated=True)
    assert found.history == {0: (RIGHT, WRONG, RIGHT), 5: (WRONG, RIGHT, UNKNOWN)}


def test_the_newest_waits_for_all_workers(run: Run) -> None:
    found = predictions(run, [batch(1), batch(1, 1), batch(2)], validated=True)
    assert found.newest.parameters_round == 1
    assert found.at(2).workers == 1
    assert found.at(99) == found.at(None) == found.newest


def test_only_part_of_the_workers_so_far(run: Run) -> None:
    assert predictions(run, [batch(2)], validated=True).newest.parameters_round == 2


def test_confusion_is_summed_over_workers(run: Run) -> None:
    found = predictions(run, [batch(), batch(worker=1, confusion=((9, 4, 1), (12, 4, 3)))], validated=True)
    counts = confusion_matrix(found.newest, 10)
    assert counts[9, 4] == 8
    assert counts[4, 4] == 30
    assert counts.sum() == 38  # the label 12 is beyond the classes


def test_no_confusion_at_all(run: Run) -> None:
    assert confusion_matrix(predictions(run, [batch(confusion=())], validated=True).newest, 3).sum() == 0


def test_names_of_classes_that_have_none(run: Run) -> None:
    named = replace(run, data_facts={**run.data_facts, "class_names": ["cat"], "classes": 3})
    found = predictions(named, [batch(truths=(0, 1), predicted=(2, 1))], validated=True)
    assert found.class_names == ("cat", "1", "2")
    assert found.name(7) == "7"


@pytest.mark.parametrize(
    ("changes", "validated", "state"),
    [
        ({"status": "RUNNING"}, False, "waiting"),
        ({"status": "RUNNING", "data_facts": {}}, False, "waiting"),
        ({"status": "FINISHED"}, True, "not recorded"),
        ({"status": "RUNNING"}, True, "not recorded"),
        ({"status": "FAILED"}, False, "ended before"),
        ({"data_facts": {"classes": 0}}, True, "regression"),
    ],
)
def test_why_there_are_none(run: Run, changes: dict[str, Any], validated: bool, state: str) -> None:
    assert predictions(replace(run, **changes), [], validated=validated).state == state


@pytest.mark.parametrize(
    ("shape", "expected"),
    [([28, 28], (28, 28)), ([32, 24, 3], (32, 24)), ([8, 8, 1], (8, 8)), ([8, 8, 4], None), ([13], None), ([], None)],
)
def test_what_is_a_picture(shape: list[int], expected: tuple[int, int] | None) -> None:
    assert image_shape({"x_shape": shape}) == expected


def test_parameters_that_are_asked_now(run: Run) -> None:
    assert newest_parameters_round(replace(run, final_round=6)) == 6
    assert newest_parameters_round(replace(run, final_round=None, round_index=4)) == 3
    assert newest_parameters_round(replace(run, final_round=None, round_index=0)) == 0


def test_a_snapshot_is_gone_through_once() -> None:
    snapshot = sample_snapshot()
    assert snapshot.predictions
    found = recorded_predictions(snapshot)
    assert found is recorded_predictions(snapshot._replace(revision=snapshot.revision + 1))
    more = batch(99, made_at=1.0)
    later = recorded_predictions(snapshot._replace(predictions=(*snapshot.predictions, more)))
    assert later.checkpoints[-1].parameters_round == 99


def test_a_snapshot_without_predictions() -> None:
    assert recorded_predictions(sample_snapshot(predictions=())).state == "not recorded"
    assert recorded_predictions(sample_snapshot(state="preparing")).state == "waiting"
