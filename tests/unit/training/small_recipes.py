"""Small recipes and data for the tests of the TensorFlow side. Importing this pins one thread for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from training.numerics import pin_threads

pin_threads(1)

import keras  # noqa: E402 - threads come first

from training.compiled import CompiledRecipe  # noqa: E402
from training.datasets.source import Arrays, DataSource  # noqa: E402
from training.loop import ShardRun, ShardWork  # noqa: E402
from training.recipe import Recipe  # noqa: E402

FEATURES, CLASSES = 6, 3


def no_arrays(folder: Path) -> Arrays:
    raise AssertionError(f"these tests bring their own arrays; nobody should load any from {folder}")


def build_everything(settings: Mapping[str, Any]) -> keras.Model:
    """Dropout, batch normalisation, weight decay: all that could lose bits."""
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(8, kernel_regularizer=keras.regularizers.L2(0.01)),
            keras.layers.BatchNormalization(momentum=0.8),
            keras.layers.ReLU(),
            keras.layers.Dropout(settings["dropout"]),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def build_adam(settings: Mapping[str, Any]) -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(settings["learning_rate"])


def cross_entropy(settings: Mapping[str, Any]) -> Any:
    return keras.losses.SparseCategoricalCrossentropy()


EVERYTHING = Recipe(
    name="everything",
    title="dropout, batch normalisation, Adam, weight decay",
    dataset=DataSource(name="noise", load=no_arrays, input_shape=(FEATURES,)),
    build_model=build_everything,
    build_optimizer=build_adam,
    build_loss=cross_entropy,
    settings={"learning_rate": 0.01, "dropout": 0.3},
)


def with_model(build_model: Any, **changes: Any) -> Recipe:
    """EVERYTHING with another model."""
    return replace(EVERYTHING, build_model=build_model, **changes)


def compiled(recipe: Recipe = EVERYTHING, sync: Any = "local", **settings: Any) -> CompiledRecipe:
    return CompiledRecipe(recipe, dict(recipe.settings) | settings, sync)


@cache
def shared(sync: Any = "local") -> CompiledRecipe:
    """EVERYTHING compiled once for all tests: whatever one test leaves in it must not matter to the next."""
    return compiled(sync=sync)


def data(examples: int = 50, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(examples, FEATURES)).astype(np.float32)  # (examples, features)
    return x, (x[:, 0] > 0).astype(np.uint8) + (x[:, 1] > 0).astype(np.uint8)


def work(sync: Any = "local", pieces: list[np.ndarray] | None = None, **changes: Any) -> ShardWork:
    """Two pieces of 21 and 12 rows, in batches of 8: ragged ones inside and at the end."""
    default = [np.arange(40, 19, -1), np.arange(12)]
    values = {"batch_size": 8, "seed": 5, "round_index": 2, "worker_index": 1} | changes
    return ShardWork(sync=sync, pieces=default if pieces is None else pieces, **values)


def started(recipe: CompiledRecipe, todo: ShardWork | None = None, seed: int = 5) -> tuple[ShardRun, np.ndarray]:
    """A shard run at its first step, and the parameters that it started from."""
    theta, constants, state = recipe.initial(seed)
    run = ShardRun(recipe, todo or work(recipe.sync), *data())
    run.start(theta, constants, state)
    return run, theta


def results(run: ShardRun, theta: np.ndarray) -> dict[str, bytes]:
    """All that a finished shard run hands in, as bytes: equal only if every bit is."""
    tensors = {"update": run.update(theta)} | run.worker_state()
    means = {"loss": run.mean_loss, "accuracy": run.mean_accuracy or 0.0}
    return {name: np.asarray(value).tobytes() for name, value in (tensors | means).items()}


def run_through(run: ShardRun, chunk: int = 1000) -> list[float]:
    """All steps, `chunk` at a time; returns their losses."""
    losses: list[float] = []
    while not run.finished:
        losses += run.advance(chunk).losses
    return losses
