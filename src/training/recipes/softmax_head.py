"""What the recipes with a frozen backbone have in common: a new softmax head on its features, and how it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.recipe import Settings

if TYPE_CHECKING:
    import keras

BATCH_SIZE = 64
EPOCHS = 10


def softmax_head(features: int, settings: Settings) -> keras.Model:
    """Features of shape (examples, features) → probabilities of 10 classes."""
    import keras

    return keras.Sequential(
        [
            keras.Input((features,), name="features"),
            keras.layers.Dropout(settings["dropout"]),
            # No parameters: it brings every backbone's features to one size. VGG19's go up to 300.
            keras.layers.LayerNormalization(center=False, scale=False),
            # One layer has one minimum, wherever it begins.
            keras.layers.Dense(10, activation="softmax", kernel_initializer="zeros"),
        ],
        name="head",
    )


def build_optimizer(settings: Settings) -> keras.optimizers.Optimizer:
    """Adam: features differ in size and in how often they are not zero."""
    import keras

    return keras.optimizers.Adam(settings["learning_rate"])


def build_loss(settings: Settings) -> Any:
    """Cross-entropy of whole-number labels."""
    import keras

    return keras.losses.SparseCategoricalCrossentropy()
