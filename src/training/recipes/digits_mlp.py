"""Handwritten digits with one hidden layer: seconds to train, for a first look and for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.recipe import Recipe, Settings

if TYPE_CHECKING:
    import keras


def build_model(settings: Settings) -> keras.Model:
    """Grey levels in 0 … 16 → probabilities of 10 classes."""
    import keras

    return keras.Sequential(
        [
            keras.Input((8, 8), name="image"),
            keras.layers.Rescaling(1 / 16),
            keras.layers.Flatten(),
            keras.layers.Dense(settings["units"], activation="relu"),
            keras.layers.Dropout(settings["dropout"]),
            keras.layers.Dense(10, activation="softmax"),
        ],
        name="digits_mlp",
    )


def build_optimizer(settings: Settings) -> keras.optimizers.Optimizer:
    """Stochastic gradient descent with momentum."""
    import keras

    return keras.optimizers.SGD(settings["learning_rate"], momentum=settings["momentum"])


def build_loss(settings: Settings) -> Any:
    """Cross-entropy of whole-number labels."""
    import keras

    return keras.losses.SparseCategoricalCrossentropy()


recipe = Recipe(
    name="digits-mlp",
    title="Handwritten digits 8×8, dense network 64-10, trains in seconds",
    dataset="digits",
    build_model=build_model,
    build_optimizer=build_optimizer,
    build_loss=build_loss,
    batch_size=32,
    epochs=20,
    settings={"learning_rate": 0.05, "momentum": 0.9, "dropout": 0.1, "units": 64},
)
