"""What the model saw in the sample pictures, checkpoint by checkpoint. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.records import PredictionBatch, Run

State = Literal["shown", "waiting", "regression", "not recorded", "ended before"]
Counts = NDArray[np.int64]

MOST_SHOWN = 96
"""Samples on one page; a run has about 48."""

UNKNOWN, WRONG, RIGHT = -1, 0, 1
"""What a history holds of one sample at one checkpoint."""


class Sample(NamedTuple):
    """One sample picture at one checkpoint.

    Args:
        example: its row in the validation split.
        picture: a PNG or JPEG file; empty where none was recorded.
        confidence: the model's certainty of what it predicted, 0 … 1.
    """

    example: int
    picture: bytes
    truth: int
    predicted: int
    confidence: float

    @property
    def is_right(self) -> bool:
        """Whether the model saw what it is."""
        return self.truth == self.predicted


class Checkpoint(NamedTuple):
    """What is known of the parameters of one validated round.

    Args:
        samples: in the order of their rows.
        confusions: of each worker that has told, (truth, predicted, how many) over its part of the validation split.
    """

    parameters_round: int
    samples: tuple[Sample, ...]
    confusions: tuple[tuple[tuple[int, int, int], ...], ...]

    @property
    def workers(self) -> int:
        """How many of them have told."""
        return len(self.confusions)

    @property
    def right(self) -> int:
        """Samples that the model got right."""
        return sum(sample.is_right for sample in self.samples)


class Predictions(NamedTuple):
    """All that a run recorded of its predictions.

    Args:
        checkpoints: in the order of their rounds.
        history: example → one of RIGHT, WRONG and UNKNOWN for each checkpoint.
        class_names: by label, one for each class.
        workers: how many tell when all have told.
    """

    state: State
    checkpoints: tuple[Checkpoint, ...] = ()
    history: Mapping[int, tuple[int, ...]] = {}
    class_names: tuple[str, ...] = ()
    workers: int = 0

    @property
    def newest(self) -> Checkpoint:
        """The newest that all workers have told of, or else the newest.

        Raises:
            IndexError: there is none: the state is not "shown".
        """
        whole = [checkpoint for checkpoint in self.checkpoints if checkpoint.workers >= self.workers]
        return (whole or self.checkpoints)[-1]

    @property
    def pictures(self) -> dict[int, bytes]:
        """Example → its picture, of all samples of all checkpoints that have one."""
        found = {one.example: one.picture for checkpoint in self.checkpoints for one in checkpoint.samples}
        return {example: picture for example, picture in sorted(found.items()) if picture}

    def at(self, parameters_round: int | None) -> Checkpoint:
        """That of a round; the newest for None, and for a round that was not validated."""
        found = [one for one in self.checkpoints if one.parameters_round == parameters_round]
        return found[0] if found else self.newest

    def name(self, label: int) -> str:
        """What a class is called."""
        return self.class_names[label] if 0 <= label < len(self.class_names) else str(label)


def predictions(run: Run, batches: Sequence[PredictionBatch], *, validated: bool) -> Predictions:
    """What a run recorded.

    Args:
        batches: as the workers sent them; of two about the same, the later attempt counts.
        validated: whether any round holds validation figures.
    """
    state = _state(run, bool(batches), validated)
    if state != "shown":
        return Predictions(state)
    newest: dict[tuple[int, int], PredictionBatch] = {}
    for batch in batches:
        key = batch.parameters_round, batch.worker_index
        if key not in newest or (batch.attempt, batch.made_at) >= (newest[key].attempt, newest[key].made_at):
            newest[key] = batch
    pictures = {
        example: picture for batch in batches for example, picture in zip(batch.examples, batch.images, strict=False)
    }
    rounds: dict[int, list[PredictionBatch]] = {}
    for (parameters_round, _), batch in sorted(newest.items()):
        rounds.setdefault(parameters_round, []).append(batch)
    checkpoints = tuple(_checkpoint(index, of_round, pictures) for index, of_round in rounds.items())
    workers = max(checkpoint.workers for checkpoint in checkpoints)
    return Predictions("shown", checkpoints, _history(checkpoints), _class_names(run, checkpoints[-1]), workers)


def confusion_matrix(checkpoint: Checkpoint, classes: int) -> Counts:
    """Shape (classes, classes): row = truth, column = predicted. Labels beyond `classes` are left out."""
    counts = np.zeros((classes, classes), np.int64)  # (truth, predicted)
    triples = np.array([triple for told in checkpoint.confusions for triple in told], np.int64).reshape(-1, 3)
    triples = triples[((triples[:, :2] >= 0) & (triples[:, :2] < classes)).all(axis=1)]
    np.add.at(counts, (triples[:, 0], triples[:, 1]), triples[:, 2])
    return counts


def image_shape(facts: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width of a picture that the model takes; None where its input is none."""
    shape = tuple(int(size) for size in facts.get("x_shape", ()))
    if len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3)):
        return shape[0], shape[1]
    return None


def newest_parameters_round(run: Run) -> int:
    """The round of the parameters that a prediction uses now."""
    return run.final_round if run.final_round is not None else max(0, run.round_index - 1)


def _state(run: Run, recorded: bool, validated: bool) -> State:
    if recorded:
        return "shown"
    if run.data_facts and not run.data_facts.get("classes"):
        return "regression"
    if validated:
        return "not recorded"
    return "ended before" if run.ended else "waiting"


def _checkpoint(parameters_round: int, batches: Sequence[PredictionBatch], pictures: Mapping[int, bytes]) -> Checkpoint:
    samples: dict[int, Sample] = {}
    for batch in batches:
        told = zip(batch.examples, batch.truths, batch.predicted, batch.confidences, strict=True)
        for example, truth, predicted, confidence in told:
            samples[example] = Sample(example, pictures.get(example, b""), truth, predicted, confidence)
    ordered = tuple(samples[key] for key in sorted(samples))
    return Checkpoint(parameters_round, ordered, tuple(batch.confusion for batch in batches))


def _history(checkpoints: Sequence[Checkpoint]) -> dict[int, tuple[int, ...]]:
    found: dict[int, list[int]] = {}
    for index, checkpoint in enumerate(checkpoints):
        for sample in checkpoint.samples:
            looks = found.setdefault(sample.example, [UNKNOWN] * len(checkpoints))
            looks[index] = RIGHT if sample.is_right else WRONG
    return {example: tuple(looks) for example, looks in found.items()}


def _class_names(run: Run, newest: Checkpoint) -> tuple[str, ...]:
    """By label. A data set may name fewer classes than it has, or none."""
    names = [str(name) for name in run.data_facts.get("class_names", ())]
    seen = (label for sample in newest.samples for label in (sample.truth, sample.predicted))
    classes = max(int(run.data_facts.get("classes", 0)), len(names), max(seen, default=-1) + 1)
    return (*names, *(str(label) for label in range(len(names), classes)))
