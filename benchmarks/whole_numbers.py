"""Training replaced by whole numbers and sleep: what a run must end with can be said without running it.

A worker's round folds the parameters it began with, its own state, the round and the step into new values below a
prime. The mean over a power of two of workers is exact in float64, so one wrong, doubled, missing or mixed update
changes the digest.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.records import Run
from contracts.settings import OuterSettings, RunSettings
from runs.trainer import NO_TENSORS, Initial, Tensors, Validation, parameters_digest
from training.shards import Rows
from training.vector_files import Vector

PRIME = 65_521.0
LOSSES = 101
"""A step's loss is a whole number below this, which tells whose step it was."""

Numbers = npt.NDArray[np.float64]


def run_settings(workers: int, rounds: int, steps: int, **changes: Any) -> RunSettings:
    """A run that averages plainly, each worker with `steps` examples a round.

    Args:
        workers: a power of two.
        changes: `values` and `step_s` of the arithmetic, else settings of the run.
    """
    assert workers & (workers - 1) == 0, "the mean would not be exact"
    arithmetic = {"values": changes.pop("values", 64), "step_s": changes.pop("step_s", 0.0)}
    values: dict[str, Any] = {
        "recipe": "whole numbers",
        "recipe_digest": "none",
        "dataset": "none",
        "recipe_settings": arithmetic,
        "workers": workers,
        "batch_size": 1,
        "steps_per_round": steps,
        "rounds": rounds,
        "outer": OuterSettings(kind="sgd", learning_rate=1.0),
        "time_limit_s": 120.0,
        "max_cost_usd": 1e6,
    }
    return RunSettings(**(values | changes))


def first_parameters(settings: RunSettings) -> Numbers:
    """Round 0: float64 of shape (values,)."""
    return (np.arange(settings.recipe_settings["values"]) * 101.0 + settings.seed) % PRIME


def fold(values: Numbers, state: Numbers, round_index: int, worker_index: int, steps: range) -> tuple[Numbers, Numbers]:
    """What some steps make of the values and the worker's state, both of shape (values,)."""
    salt = 7 * round_index + 131 * worker_index + 1
    for step in steps:
        state = (3 * state + values + salt) % PRIME
        values = (values + 5 * state + step) % PRIME
    return values, state


def loss(round_index: int, worker_index: int, step: int) -> float:
    """That of a step."""
    return float((31 * round_index + 7 * worker_index + step) % LOSSES)


def expected_parameters(settings: RunSettings, rounds: int) -> Numbers:
    """The parameters after so many rounds, shape (values,), by nothing but the arithmetic."""
    parameters = first_parameters(settings)
    states = [np.ones_like(parameters)] * settings.workers
    steps = range(settings.steps_per_round or 0)
    for round_index in range(1, rounds + 1):
        total = np.zeros_like(parameters)
        for worker in range(settings.workers):
            values, states[worker] = fold(np.floor(parameters), states[worker], round_index, worker, steps)
            total += values
        parameters = total / settings.workers
    return parameters


def expected_digest(settings: RunSettings) -> str:
    """`parameters_sha256` of the finished run."""
    return parameters_digest(expected_parameters(settings, settings.rounds or 0))


class Steps(NamedTuple):
    """Implements runs.trainer.StepResults."""

    first_step: int
    losses: Sequence[float]
    examples: Sequence[int]
    durations_ms: Sequence[float]
    accuracies: Sequence[float]


class NumberShard:
    """Implements runs.trainer.ShardInProgress."""

    mean_accuracy = 0.5

    def __init__(self, run: Run, round_index: int, worker_index: int, pieces: Sequence[Rows]) -> None:
        self.total_steps = sum(len(piece) for piece in pieces)
        self.step = 0
        self._where = (round_index, worker_index)
        self._step_s = float(run.settings.recipe_settings["step_s"])
        self._values: Numbers = np.empty(0)
        self._state: Numbers = np.empty(0)

    def start(self, parameters: Vector, constants: Tensors, state: Tensors) -> None:
        """From the round's parameters."""
        self._values, self._state = np.floor(parameters).astype(np.float64), state["state"]

    def restore(self, constants: Tensors, checkpoint: Tensors) -> None:
        """From where it paused."""
        self._values, self._state = checkpoint["values"], checkpoint["state"]
        self.step = int(checkpoint["step"][0])

    def advance(self, steps: int) -> Steps:
        """Fold, and sleep as long as it would have computed."""
        done = range(self.step, min(self.step + steps, self.total_steps))
        self._values, self._state = fold(self._values, self._state, *self._where, done)
        time.sleep(self._step_s * len(done))
        self.step = done.stop
        losses = [loss(*self._where, step) for step in done]
        count = len(losses)
        return Steps(done.start, losses, [1] * count, [1e3 * self._step_s] * count, [0.5] * count)

    def checkpoint(self) -> Tensors:
        """All that `restore` needs."""
        return {"values": self._values, "state": self._state, "step": np.array([self.step])}

    def update(self, parameters: Vector) -> Vector:
        """The change, exact: a difference of multiples of 1 / workers."""
        return self._values - parameters

    def worker_state(self) -> Tensors:
        """For the next round."""
        return {"state": self._state}

    @property
    def examples(self) -> int:
        """One a step."""
        return self.step

    @property
    def mean_loss(self) -> float:
        """Not kept: telemetry has each step's."""
        return 1.0


class NumberTrainer:
    """Implements runs.trainer.Trainer."""

    fingerprint = "whole numbers"

    def peak_memory_bytes(self) -> int:
        """Measured from outside."""
        return 0

    def initial(self, run: Run) -> Initial:
        """Each worker's state begins with ones."""
        first = first_parameters(run.settings)
        return Initial(first, first.size, NO_TENSORS, {"state": np.ones_like(first)})

    def shard(self, run: Run, round_index: int, worker_index: int, pieces: Sequence[Rows]) -> NumberShard:
        """One worker's round."""
        return NumberShard(run, round_index, worker_index, pieces)

    def validate(self, run: Run, parameters: Vector, constants: Tensors, low: int, high: int) -> Validation:
        """There is no validation split."""
        return Validation({})

    def pictures(self, run: Run, rows: Sequence[int]) -> tuple[bytes, ...]:
        """There is no validation split."""
        return ()

    def test(self, run: Run, parameters: Vector, constants: Tensors) -> dict[str, float]:
        """Nothing to test on."""
        return {}

    def export(self, run: Run, parameters: Vector, constants: Tensors) -> dict[str, bytes]:
        """The parameters' bytes, so that there is a model to be removed."""
        return {"keras": parameters.tobytes()}


def prepare_numbers(run: Run) -> dict[str, Any]:
    """As many examples as a round's steps need."""
    settings = run.settings
    return {"train_examples": settings.workers * (settings.steps_per_round or 1), "val_examples": 0}
