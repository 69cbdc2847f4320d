"""A recipe in double precision without anything random, with an example count that leaves ragged batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from training.datasets.source import Arrays, DataSource
from training.recipe import Recipe


def load(folder: Path) -> Arrays:
    random = np.random.default_rng(0)
    x = random.normal(size=(131, 6))
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    return Arrays(x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])


def build_model(settings: Any) -> Any:
    import keras

    keras.config.set_floatx("float64")
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(9, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.01)),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )


def build_optimizer(settings: Any) -> Any:
    import keras

    return keras.optimizers.SGD(settings["learning_rate"])


def build_loss(settings: Any) -> Any:
    import keras

    return keras.losses.SparseCategoricalCrossentropy()


recipe = Recipe(
    name="float64",
    title="Double precision, nothing random",
    dataset=DataSource(name="float64", load=load, input_shape=(6,), class_names=("no", "yes")),
    build_model=build_model,
    build_optimizer=build_optimizer,
    build_loss=build_loss,
    batch_size=32,
    epochs=1,
    settings={"learning_rate": 0.1},
)
