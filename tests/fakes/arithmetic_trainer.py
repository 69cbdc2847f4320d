"""Training replaced by cheap exact arithmetic on whole numbers in float64.

A wrong, doubled, missing or mixed update changes the result: every step folds the parameters it started from, its
rows and the worker's own state into the next values, modulo a prime, so that no two histories agree by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.records import Run
from runs.trainer import NO_TENSORS, Initial, Tensors, Validation
from training.samples import Answers, looks
from training.shards import Rows
from training.vector_files import Vector

PRIME = 65_521.0
PARAMETERS = 6
TRAINABLE = 5

Numbers = npt.NDArray[np.float64]


class Steps(NamedTuple):
    """Implements runs.trainer.StepResults."""

    first_step: int
    losses: Sequence[float]
    examples: Sequence[int]
    durations_ms: Sequence[float]
    accuracies: Sequence[float]


class ArithmeticShard:
    """Implements runs.trainer.ShardInProgress."""

    def __init__(self, run: Run, round_index: int, worker_index: int, pieces: Sequence[Rows]) -> None:
        size = run.settings.batch_size
        self._batches = [piece[i : i + size] for piece in pieces for i in range(0, len(piece), size)]
        self._salt = 7 * round_index + 131 * worker_index + 1
        self.total_steps = len(self._batches)
        self.step = 0
        self.examples = 0
        self._values: Numbers = np.zeros(PARAMETERS)
        self._state: Numbers = np.zeros(PARAMETERS)

    def start(self, parameters: Vector, constants: Tensors, state: Tensors) -> None:
        self._values = parameters.astype(np.float64)
        self._state = state["state"].copy()

    def restore(self, constants: Tensors, checkpoint: Tensors) -> None:
        self._values = checkpoint["values"].copy()
        self._state = checkpoint["state"].copy()
        self.step = int(checkpoint["step"][0])
        self.examples = int(checkpoint["examples"][0])

    def advance(self, steps: int) -> Steps:
        first = self.step
        counts = []
        for batch in self._batches[first : first + steps]:
            rows = float(batch.sum() % 1009)
            self._state = (3 * self._state + self._values + rows + self._salt) % PRIME
            self._values = (self._values + 5 * self._state + rows) % PRIME
            counts.append(len(batch))
        self.step += len(counts)
        self.examples += sum(counts)
        return Steps(first, [1.0] * len(counts), counts, [1.0] * len(counts), [0.5] * len(counts))

    def checkpoint(self) -> Tensors:
        return {
            "values": self._values,
            "state": self._state,
            "step": np.array([self.step]),
            "examples": np.array([self.examples]),
        }

    def update(self, parameters: Vector) -> Vector:
        return self._values - parameters

    def worker_state(self) -> Tensors:
        return {"state": self._state}

    @property
    def mean_loss(self) -> float:
        return 1.0

    @property
    def mean_accuracy(self) -> float:
        return 0.5


class ArithmeticTrainer:
    """Implements runs.trainer.Trainer."""

    fingerprint = "whole numbers"

    def peak_memory_bytes(self) -> int:
        return 0

    def initial(self, run: Run) -> Initial:
        start = (np.arange(PARAMETERS) * 101.0 + run.settings.seed) % PRIME
        return Initial(start, TRAINABLE, NO_TENSORS, {"state": np.ones(PARAMETERS)})

    def features(self, run: Run, split: str, low: int, high: int) -> Vector:
        rows = np.arange(low, high)[:, None] + len(split)  # (rows, 1)
        return (rows * np.array([1, 3]) % 251).astype(np.float16)  # (rows, width)

    def shard(self, run: Run, round_index: int, worker_index: int, pieces: Sequence[Rows]) -> ArithmeticShard:
        return ArithmeticShard(run, round_index, worker_index, pieces)

    def validate(self, run: Run, parameters: Vector, constants: Tensors, low: int, high: int) -> Validation:
        rows = np.arange(low, high)
        answers = Answers(rows % 3, (rows + 1) % 3, np.full(high - low, 0.5, np.float32))
        sums = {"examples": high - low, "loss_sum": float(high - low), "correct": 0.0}
        return Validation(sums, looks(answers, low, int(run.data_facts["val_examples"])))

    def pictures(self, run: Run, rows: Sequence[int]) -> tuple[bytes, ...]:
        return tuple(b"picture %d" % row for row in rows)

    def test(self, run: Run, parameters: Vector, constants: Tensors) -> dict[str, float]:
        return {"test_loss": float(parameters.sum())}

    def export(self, run: Run, parameters: Vector, constants: Tensors) -> dict[str, bytes]:
        return {"keras": parameters.tobytes()}
