"""What a made run's workers saw in the validation split: better with every round, and the same from the same seed."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import numpy.typing as npt
from PIL import Image

from contracts.records import PredictionBatch
from training.shards import validation_part

CLASSES = 10
VALIDATION_EXAMPLES = 640
MOST_SAMPLES = 12
"""Of one worker, as its predictions show them."""

DIGITS = ("75557", "26227", "71747", "71717", "55711", "74717", "74757", "71222", "75757", "75717")
"""Five rows of three dots a digit: each row an octal figure."""


class Seen:
    """The validation split, and how sure a model has to be to get each of its examples right."""

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng([seed, 7])
        self.truths = draw.integers(0, CLASSES, VALIDATION_EXAMPLES)  # (examples,)
        self.mistaken = (self.truths + draw.integers(1, CLASSES, VALIDATION_EXAMPLES)) % CLASSES
        self.hardness = draw.random(VALIDATION_EXAMPLES)
        self.noise = draw.random(VALIDATION_EXAMPLES)

    def predicted(self, progress: float) -> npt.NDArray[np.int64]:
        """The classes that are seen when the run has come so far, of shape (examples,)."""
        found: npt.NDArray[np.int64] = np.where(self.hardness < skill(progress), self.truths, self.mistaken)
        return found

    def confidences(self, progress: float) -> npt.NDArray[np.float64]:
        """How sure of each, 0 … 1, of shape (examples,)."""
        found: npt.NDArray[np.float64] = np.clip(0.35 + 0.6 * abs(skill(progress) - self.hardness), 0.11, 0.999)
        return found.round(4)


def skill(progress: float) -> float:
    """The part of the examples that is seen rightly."""
    return 0.1 + 0.86 * float(1 - np.exp(-5 * progress))


def validated(seen: Seen, progress: float, worker: int, workers: int) -> dict[str, float]:
    """A worker's sums over its part, as it reports them."""
    low, high = validation_part(VALIDATION_EXAMPLES, workers, worker)
    if low == high:
        return {}
    right = seen.predicted(progress)[low:high] == seen.truths[low:high]
    loss_sum = float(np.where(right, 0.2, 2.4).sum())
    return {"val_examples": float(high - low), "val_loss_sum": loss_sum, "val_correct": float(right.sum())}


def prediction_batch(
    seen: Seen, progress: float, worker: int, workers: int, parameters_round: int, at: float
) -> PredictionBatch:
    """What the worker shows of its part, with pictures."""
    low, high = validation_part(VALIDATION_EXAMPLES, workers, worker)
    predicted, confidences = seen.predicted(progress), seen.confidences(progress)
    counts = Counter(zip(seen.truths[low:high].tolist(), predicted[low:high].tolist(), strict=True))
    rows = range(low, min(high, low + MOST_SAMPLES))
    return PredictionBatch(
        worker_index=worker,
        parameters_round=parameters_round,
        attempt=1,
        made_at=at,
        examples=tuple(rows),
        truths=tuple(int(seen.truths[row]) for row in rows),
        predicted=tuple(int(predicted[row]) for row in rows),
        confidences=tuple(float(confidences[row]) for row in rows),
        images=tuple(_picture(int(seen.truths[row]), float(seen.noise[row])) for row in rows),
        confusion=tuple((truth, found, count) for (truth, found), count in sorted(counts.items())),
    )


def _picture(digit: int, noise: float) -> bytes:
    """An 8 × 8 PNG of a digit."""
    grey = np.full((8, 8), int(30 * noise), np.uint8)
    for row, dots in enumerate(DIGITS[digit], start=1):
        for column in range(3):
            if int(dots) & (4 >> column):
                grey[row, 2 + column] = 200 + int(50 * noise)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "PNG")
    return stream.getvalue()
