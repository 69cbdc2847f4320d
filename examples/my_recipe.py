"""A recipe of your own: copy this file, change it, and run `lambdafit train examples/my_recipe.py --workers 4`.

A recipe is one file that defines `recipe`: where the data come from, and three functions that make the model, its
inner optimizer and its loss. `settings` are yours to name; `--set units=128` overrides one for a run. Keras is
imported inside the functions, so that the command line can read the recipe without waiting for TensorFlow.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.datasets.source import Arrays, DataSource
from training.recipe import Recipe, Settings


def load(folder: Path) -> Arrays:
    """Your data as NumPy arrays; `folder` holds the source's files, of which this one has none.

    Here: points of two interleaved spirals. lambdafit shuffles them and carves the validation split out.
    """
    random = np.random.default_rng(0)
    labels = np.arange(4_000) % 2  # (examples,)
    turn = random.uniform(0.25, 1.75, 4_000)  # (examples,), in full turns
    angle = 2 * np.pi * (turn + labels / 2)
    points = turn[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)  # (examples, 2)
    x = (points + random.normal(scale=0.03, size=points.shape)).astype(np.float32)
    return Arrays(x_train=x[:3_200], y_train=labels[:3_200], x_test=x[3_200:], y_test=labels[3_200:])


def build_model(settings: Settings):
    """Points → probabilities of the two spirals. The averages of batch normalisation travel with the parameters."""
    import keras

    return keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(settings["units"]),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(settings["dropout"]),
            keras.layers.Dense(settings["units"], activation="relu"),
            keras.layers.Dense(2, activation="softmax"),
        ],
        name="spirals",
    )


def build_optimizer(settings: Settings):
    """Steps inside a worker. Each worker keeps its own state of it from round to round."""
    import keras

    return keras.optimizers.Adam(settings["learning_rate"])


def build_loss(settings: Settings):
    """A Keras loss, or a function (y, prediction) → one loss for each example."""
    import keras

    return keras.losses.SparseCategoricalCrossentropy()


recipe = Recipe(
    name="spirals",
    title="Two spirals: batch normalisation, dropout and Adam on data made with NumPy",
    dataset=DataSource(name="spirals", load=load, input_shape=(2,), class_names=("first", "second")),
    build_model=build_model,
    build_optimizer=build_optimizer,
    build_loss=build_loss,
    batch_size=64,
    epochs=20,
    settings={"learning_rate": 0.01, "units": 64, "dropout": 0.1},
)
