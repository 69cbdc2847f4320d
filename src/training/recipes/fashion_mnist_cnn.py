"""Fashion-MNIST with two convolutions: better than the dense network, and slower."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.recipe import Recipe, Settings

if TYPE_CHECKING:
    import keras


def build_model(settings: Settings) -> keras.Model:
    """Pixels in 0 … 255 → probabilities of 10 classes."""
    import keras

    filters, dropout = settings["filters"], settings["dropout"]
    return keras.Sequential(
        [
            keras.Input((28, 28), name="image"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Reshape((28, 28, 1)),
            keras.layers.Conv2D(filters, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(2 * filters, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(settings["units"], activation="relu"),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(10, activation="softmax"),
        ],
        name="fashion_mnist_cnn",
    )


def build_optimizer(settings: Settings) -> keras.optimizers.Optimizer:
    """Adam: convolutions and the dense layer want different rates."""
    import keras

    return keras.optimizers.Adam(settings["learning_rate"])


def build_loss(settings: Settings) -> Any:
    """Cross-entropy of whole-number labels."""
    import keras

    return keras.losses.SparseCategoricalCrossentropy()


recipe = Recipe(
    name="fashion-mnist-cnn",
    title="Fashion-MNIST clothes, two convolutions and a dense layer",
    dataset="fashion-mnist",
    build_model=build_model,
    build_optimizer=build_optimizer,
    build_loss=build_loss,
    batch_size=64,
    epochs=6,
    settings={"learning_rate": 0.002, "dropout": 0.1, "filters": 32, "units": 128},
)
