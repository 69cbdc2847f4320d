"""What a made run is like: its size, its curves, its settings, and what its tasks hand in."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.made_predictions import CLASSES, VALIDATION_EXAMPLES
from contracts.records import FileRef, Run, TaskKey
from contracts.settings import RunSettings

PARAMETERS = 4_810
"""As many as digits-mlp has."""

SLOW = 1.6
"""The last worker's steps take so many times as long."""

STARTED_AT = 1_790_000_000.0


class Shape(NamedTuple):
    """What a made run is like.

    Args:
        batch_steps: steps in one item of telemetry.
        step_ms: of a worker of middling speed.
        troubles: in round 2 worker 1 hands over across the time limit; in round 3 worker 2 is lost and does its steps
            again; in round 4 a backup takes over from the last worker.
        accuracies, images: whether they are recorded.
    """

    run_id: str = "r-made000001"
    workers: int = 64
    rounds: int = 100
    steps_per_round: int = 100
    batch_size: int = 16
    batch_steps: int = 20
    step_ms: float = 40.0
    seed: int = 0
    started_at: float = STARTED_AT
    troubles: bool = False
    accuracies: bool = True
    images: bool = True

    @property
    def steps(self) -> int:
        """Of one worker in the whole run."""
        return self.rounds * self.steps_per_round


class Curves(NamedTuple):
    """What each step gives: all of shape (workers, steps)."""

    losses: npt.NDArray[np.float64]
    accuracies: npt.NDArray[np.float64]
    durations_ms: npt.NDArray[np.float64]


def curves(shape: Shape) -> Curves:
    """The same for the same shape."""
    draw = np.random.default_rng(shape.seed)
    size = (shape.workers, shape.steps)
    falling = 0.15 + 2.2 * np.exp(-6.0 * np.arange(shape.steps) / max(1, shape.steps))  # (steps,)
    bias = draw.normal(1.0, 0.05, (shape.workers, 1))
    losses = np.maximum(0.01, falling * bias * draw.normal(1.0, 0.12, size))
    accuracies = np.clip(1 - 0.38 * losses + draw.normal(0, 0.04, size), 0, 1)
    speed = draw.normal(1.0, 0.06, (shape.workers, 1))
    speed[-1] = SLOW
    durations_ms = np.maximum(0.2, shape.step_ms * speed * draw.normal(1.0, 0.08, size))
    return Curves(losses.round(6), np.round(accuracies * shape.batch_size) / shape.batch_size, durations_ms.round(3))


def made_settings(shape: Shape) -> RunSettings:
    """Of a recipe that everybody has."""
    return RunSettings(
        recipe="digits-mlp",
        recipe_name="digits-mlp",
        recipe_digest="4a7eab0b21c55832ec8238a36f4f0db2",
        dataset="digits",
        workers=shape.workers,
        batch_size=shape.batch_size,
        rounds=shape.rounds,
        steps_per_round=shape.steps_per_round,
        seed=shape.seed,
        concurrency=shape.workers,
        recipe_settings={"learning_rate": 0.015625, "momentum": 0.9, "dropout": 0.1, "units": 64},
    )


def results(key: TaskKey, run: Run, file: Any) -> tuple[dict[str, FileRef], Mapping[str, Any]]:
    """What a task that is no worker's hands in."""
    match key.kind:
        case "prepare":
            return {}, _data_facts(run.settings)
        case "initialise":
            facts = {"parameter_count": PARAMETERS, "trainable_count": PARAMETERS, "slice_bounds": [0, PARAMETERS]}
            return {"parameters-0": file("parameters/000000/slice-00"), "state": file("state/000000")}, facts
        case "combine":
            where = f"{key.round_index:06d}/slice-{key.index:02d}"
            return {name: file(f"{name}/{where}") for name in ("parameters", "outer")}, {}
        case "evaluate":
            accuracy = run.validation.get("val/accuracy", 0.9)
            digest = sha256(f"{run.settings.seed} {run.settings.workers}".encode()).hexdigest()
            return {}, {"test_loss": 0.31, "test_accuracy": accuracy, "parameters_sha256": digest}
        case _:
            return {}, {"through": max(0, key.round_index - 2)}


def _data_facts(settings: RunSettings) -> dict[str, Any]:
    rounds_an_epoch = max(1, min(5, (settings.rounds or 1) // 3))
    examples = settings.workers * settings.batch_size * (settings.steps_per_round or 1) * rounds_an_epoch
    return {
        "name": "digits",
        "folder": "datasets/digits-made",
        "train_examples": examples,
        "val_examples": VALIDATION_EXAMPLES,
        "test_examples": 360,
        "x_shape": [8, 8],
        "classes": CLASSES,
        "class_names": [str(digit) for digit in range(CLASSES)],
        "bytes": examples * 65,
        "files": {"x_train": {"bytes": examples * 64 + 128, "digest": "0" * 32}},
    }
