"""A recipe for `bench_growth.py`: random points around a centre for each class, two dense layers of a settable width.

The benchmark runs copies of this file, in which the line of EXAMPLES says another number.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.datasets.source import Arrays, DataSource
from training.recipe import Recipe, Settings

EXAMPLES = 8_000
INPUTS, CLASSES = 64, 10
TEST_SHARE = 8
"""One test example for so many to train on."""


def load(folder: Path) -> Arrays:
    """The same points each time: x of shape (examples, 64), float32."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(CLASSES, INPUTS))
    made = []
    for count in (EXAMPLES, EXAMPLES // TEST_SHARE):
        labels = random.integers(0, CLASSES, count)
        made += [(centres[labels] + random.normal(size=(count, INPUTS))).astype(np.float32), labels]
    return Arrays(*made)


def build_model(settings: Settings):
    """Points → probabilities of the classes."""
    import keras

    units = settings["units"]
    return keras.Sequential(
        [
            keras.Input((INPUTS,)),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def build_optimizer(settings: Settings):
    """Without a state of its own, or with one of twice the parameters."""
    import keras

    return keras.optimizers.Adam(1e-4) if settings["optimizer"] == "adam" else keras.optimizers.SGD(1e-3)


def build_loss(settings: Settings):
    """Labels are numbers."""
    import keras

    return keras.losses.SparseCategoricalCrossentropy()


recipe = Recipe(
    name=f"growth-{EXAMPLES}",
    title="Two dense layers on random points",
    dataset=DataSource(name=f"growth-{EXAMPLES}", load=load, input_shape=(INPUTS,), class_names=tuple("0123456789")),
    build_model=build_model,
    build_optimizer=build_optimizer,
    build_loss=build_loss,
    settings={"units": 64, "optimizer": "sgd"},
)
