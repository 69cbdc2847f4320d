"""A recipe that reaches for much of Keras: what an archive for workers must be able to build, train and save."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from training.datasets.source import Arrays, DataSource
from training.recipe import Recipe


def load(folder: Path) -> Arrays:
    """Pictures whose class is the quarter with the most light."""
    random = np.random.default_rng(0)
    x = random.integers(0, 256, size=(160, 32, 32, 3)).astype(np.uint8)
    quarters = np.stack([x[:, r : r + 16, c : c + 16].sum(axis=(1, 2, 3)) for r in (0, 16) for c in (0, 16)], axis=1)
    y = quarters.argmax(axis=1).astype(np.int64)
    return Arrays(x_train=x[:128], y_train=y[:128], x_test=x[128:], y_test=y[128:])


def frozen_backbone() -> Any:
    """Pictures → small pictures with 8 channels, by an inverted residual of MobileNetV2."""
    import keras
    from keras import layers

    x = small = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    y = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.999)(x))
    y = layers.ZeroPadding2D(1)(y)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, use_bias=False)(y)))
    backbone = keras.Model(small, layers.Add()([x, layers.Conv2D(8, 1)(y)]))
    backbone.trainable = False
    return backbone


def build_model(settings: Any) -> Any:
    """A convolutional and a recurrent branch, attention, and a frozen backbone of the layers of MobileNetV2.

    Its 154 layers themselves open no other file, and would take most of the test's time.
    """
    import keras
    from keras import layers
    from keras.applications import mobilenet_v2

    x = image = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 255)(mobilenet_v2.preprocess_input(x))
    x = layers.RandomFlip("horizontal")(x)
    x = layers.RandomTranslation(0.1, 0.1)(x)
    backbone = frozen_backbone()
    a = layers.GlobalAveragePooling2D()(backbone(x))
    b = layers.SeparableConv2D(8, 3, activation="gelu")(layers.Conv2D(8, 3, strides=2)(x))
    b = layers.BatchNormalization()(b)
    b = layers.Reshape((-1, 8))(layers.MaxPooling2D()(b))
    b = layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(b, b))
    b = layers.Concatenate()([layers.LSTM(4)(b), layers.GRU(4)(b)])
    x = layers.Dropout(0.2)(layers.Concatenate()([a, b]))
    outputs = layers.Dense(4, activation="softmax", kernel_regularizer=keras.regularizers.L2(1e-4))(x)
    return keras.Model(image, outputs)


def build_optimizer(settings: Any) -> Any:
    """Adam with a schedule."""
    import keras

    return keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(settings["learning_rate"], 100))


def build_loss(settings: Any) -> Any:
    """Cross-entropy of whole-number labels."""
    import keras

    return keras.losses.SparseCategoricalCrossentropy()


recipe = Recipe(
    name="wide",
    title="Much of Keras at once",
    dataset=DataSource(name="quarters", load=load, input_shape=(32, 32, 3), class_names=("a", "b", "c", "d")),
    build_model=build_model,
    build_optimizer=build_optimizer,
    build_loss=build_loss,
    batch_size=32,
    epochs=1,
    settings={"learning_rate": 0.001},
)
