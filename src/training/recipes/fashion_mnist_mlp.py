"""Fashion-MNIST with two hidden layers: 669,706 parameters, the main job of the benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.recipe import Recipe, Settings

if TYPE_CHECKING:
    import keras


def build_model(settings: Settings) -> keras.Model:
    """Pixels in 0 … 255 → probabilities of 10 classes.

    The softmax is the last layer, so that predictions are probabilities. Keras takes the logits before it for the
    cross-entropy, so nothing is lost where a probability rounds to 0 or 1.
    """
    import keras

    units, dropout = settings["units"], settings["dropout"]
    return keras.Sequential(
        [
            keras.Input((28, 28), name="image"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(10, activation="softmax"),
        ],
        name="fashion_mnist_mlp",
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
    name="fashion-mnist-mlp",
    title="Fashion-MNIST clothes, dense network 512-512-10",
    dataset="fashion-mnist",
    build_model=build_model,
    build_optimizer=build_optimizer,
    build_loss=build_loss,
    batch_size=64,
    epochs=5,
    settings={"learning_rate": 0.05, "momentum": 0.9, "dropout": 0.25, "units": 512},
)
