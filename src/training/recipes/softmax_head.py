"""What the recipes with a frozen backbone have in common: a new softmax head on its features, and how it learns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from training.recipe import Recipe, Settings
from training.weights import PublishedWeights

if TYPE_CHECKING:
    import keras

SETTINGS: Settings = {"features": True, "image_size": 64, "weights": "", "learning_rate": 0.01, "dropout": 0.0}
"""The learning rate and the dropout are those of the best head that `make bench-head` tries."""


def cifar10_recipe(
    *, backbone: str, features: int, build_backbone: Callable[[Settings], keras.Model], weights: PublishedWeights
) -> Recipe:
    """CIFAR-10 by transfer: a backbone as it was trained on ImageNet, frozen, and the head.

    Args:
        backbone: its name, such as "VGG19".
        features: what it gives of a picture.
        build_backbone: see `Recipe`; it depends on the settings `image_size` and `weights`. It stands in a file with
            all that its outputs depend on, as their digest is that file's.
        weights: as published.
    """

    def build_model(settings: Settings) -> keras.Model:
        return softmax_head(features, settings)

    return Recipe(
        name=f"cifar10-{backbone.lower()}",
        title=f"CIFAR-10 pictures, {backbone} frozen, a new softmax head",
        dataset="cifar-10",
        build_model=build_model,
        build_backbone=build_backbone,
        build_optimizer=build_optimizer,
        build_loss=build_loss,
        batch_size=64,
        epochs=10,
        settings=SETTINGS,
        ranges={"image_size": (32, 224)},
        backbone_settings=("image_size", "weights"),
        weights=weights,
    )


def softmax_head(features: int, settings: Settings) -> keras.Model:
    """Features of shape (examples, features) → probabilities of 10 classes."""
    import keras

    return keras.Sequential(
        [
            keras.Input((features,), name="features"),
            keras.layers.Dropout(settings["dropout"]),
            # No parameters: it brings every backbone's features to one length. VGG19's go up to 300.
            keras.layers.UnitNormalization(),
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
