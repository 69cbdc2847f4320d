"""Which examples of the validation split are shown, and what the model saw in them. No TensorFlow."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from training.shards import Rows

SAMPLES = 48
MOST_CELLS = 2_000


class Answers(NamedTuple):
    """Class, predicted class and its probability of consecutive examples: arrays of shape (examples,)."""

    truths: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    confidences: npt.NDArray[np.float32]


class Looks(NamedTuple):
    """What one worker saw in its part of the validation split.

    The first four are parallel, one entry a sample; `examples` are rows of the validation split. `confusion` holds
    (truth, predicted, count) over the whole part.
    """

    examples: tuple[int, ...]
    truths: tuple[int, ...]
    predicted: tuple[int, ...]
    confidences: tuple[float, ...]
    confusion: tuple[tuple[int, int, int], ...]


def sample_rows(examples: int, samples: int = SAMPLES) -> Rows:
    """The rows that a run shows, the same in every round: evenly spaced over the split.

    Args:
        examples: rows of the split.
        samples: how many are wanted.
    Returns:
        int64 of shape (samples,), ascending, all different; fewer where the split has fewer.
    """
    count = min(samples, examples)
    return np.arange(count, dtype=np.int64) * examples // max(1, count)


def looks(answers: Answers, low: int, examples: int) -> Looks:
    """What there is to show of a part of the validation split.

    Args:
        answers: to the rows from `low` on.
        examples: rows of the whole split.
    """
    rows = sample_rows(examples)
    rows = rows[(rows >= low) & (rows < low + len(answers.truths))]  # (samples in this part,)
    at = rows - low
    confidences = np.clip(np.nan_to_num(answers.confidences[at]), 0, 1)
    return Looks(
        examples=_integers(rows),
        truths=_integers(answers.truths[at]),
        predicted=_integers(answers.predicted[at]),
        confidences=tuple(round(float(value), 4) for value in confidences),
        confusion=confusion(answers),
    )


def confusion(answers: Answers, most: int = MOST_CELLS) -> tuple[tuple[int, int, int], ...]:
    """How often each class was taken for each: (truth, predicted, count), the largest counts first, none of them 0.

    Args:
        most: with more than that, the smallest counts are left out.
    """
    pairs = np.stack([answers.truths, answers.predicted], axis=1)  # (examples, 2)
    cells, counts = np.unique(pairs, axis=0, return_counts=True)  # (cells, 2), (cells,)
    order = np.argsort(-counts, kind="stable")[:most]
    return tuple(
        (int(truth), int(predicted), int(count))
        for (truth, predicted), count in zip(cells[order], counts[order], strict=True)
    )


def _integers(values: npt.NDArray[Any]) -> tuple[int, ...]:
    return tuple(int(value) for value in values)
