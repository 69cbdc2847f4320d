"""Functions for `bench_round.py`: the real handlers and use cases, with nothing computed. No TensorFlow.

The vector's length is the recipe setting `values`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from contracts.messages import parse_task
from contracts.records import Run
from every_task import every_task
from handlers import wiring
from runs.execute import execute
from runs.trainer import NO_TENSORS, Initial, Tensors, Validation
from training.shards import Rows
from training.vector_files import Vector


class Steps(NamedTuple):
    """Implements runs.trainer.StepResults."""

    first_step: int
    losses: Sequence[float]
    examples: Sequence[int]
    durations_ms: Sequence[float]
    accuracies: Sequence[float]


@cache
def ready_update(values: int, worker_index: int) -> Vector:
    """What a worker hands in, made once: float32 of shape (values,)."""
    return np.full(values, 1.0 + worker_index, dtype=np.float32)


class IdleShard:
    """Implements runs.trainer.ShardInProgress: one step that does nothing."""

    total_steps = 1
    examples = 1
    mean_loss = 0.0
    mean_accuracy = None

    def __init__(self, run: Run, worker_index: int) -> None:
        self._update = ready_update(run.settings.recipe_settings["values"], worker_index)
        self.step = 0

    def start(self, parameters: Vector, constants: Tensors, state: Tensors) -> None:
        """Nothing to assign."""

    def restore(self, constants: Tensors, checkpoint: Tensors) -> None:
        """Nothing to assign."""

    def advance(self, steps: int) -> Steps:
        """Done at once."""
        self.step = 1
        return Steps(0, [0.0], [1], [0.0], [])

    def checkpoint(self) -> Tensors:
        """Nothing to keep."""
        return NO_TENSORS

    def update(self, parameters: Vector) -> Vector:
        """The vector that lies ready."""
        return self._update

    def worker_state(self) -> Tensors:
        """None."""
        return NO_TENSORS


class IdleTrainer:
    """Implements runs.trainer.Trainer."""

    fingerprint = "no arithmetic"

    def peak_memory_bytes(self) -> int:
        """Not measured."""
        return 0

    def initial(self, run: Run) -> Initial:
        """Zeros."""
        values = run.settings.recipe_settings["values"]
        return Initial(np.zeros(values, dtype=np.float32), values, NO_TENSORS, NO_TENSORS)

    def shard(self, run: Run, round_index: int, worker_index: int, pieces: Sequence[Rows]) -> IdleShard:
        """One worker's round."""
        return IdleShard(run, worker_index)

    def validate(self, run: Run, parameters: Vector, constants: Tensors, low: int, high: int) -> Validation:
        """There is no validation split."""
        return Validation({})

    def pictures(self, run: Run, rows: Sequence[int]) -> tuple[bytes, ...]:
        """There is no validation split."""
        return ()

    def test(self, run: Run, parameters: Vector, constants: Tensors) -> dict[str, float]:
        """The first value, so that the sum can be checked."""
        return {"first": float(parameters[0]), "last": float(parameters[-1])}

    def export(self, run: Run, parameters: Vector, constants: Tensors) -> dict[str, bytes]:
        """Nothing."""
        return {}


def prepare_nothing(run: Run) -> dict[str, Any]:
    """As many examples as workers, so that each has one."""
    return {"train_examples": run.settings.workers, "val_examples": 0}


TRAINER = IdleTrainer()
WORK = every_task(TRAINER, prepare_nothing)


def handler(event: Mapping[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """Do one task."""
    deadline = wiring.ContextDeadline(context)
    return execute(parse_task(event), wiring.services(), deadline, context.aws_request_id, WORK)
