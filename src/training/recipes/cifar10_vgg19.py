"""CIFAR-10 by transfer: VGG19 as it was trained on ImageNet, frozen, and a new softmax head on its pooled features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.recipe import Settings
from training.recipes.softmax_head import cifar10_recipe
from training.weights import PublishedWeights, load_weights

if TYPE_CHECKING:
    import keras

IMAGENET_MEANS = (103.939, 116.779, 123.68)
"""Of blue, green and red, in 0 … 255: what VGG19 was trained with (Simonyan and Zisserman, arXiv 1409.1556)."""


def build_backbone(settings: Settings) -> keras.Model:
    """Pixels in 0 … 255 of shape (examples, 32, 32, 3) → features of shape (examples, 512)."""
    import keras
    import numpy as np

    size = settings["image_size"]
    vgg = keras.applications.VGG19(include_top=False, weights=None, input_shape=(size, size, 3))
    load_weights(vgg, settings["weights"])
    to_bgr = keras.layers.Conv2D(3, 1, name="bgr_minus_means")
    backbone = keras.Sequential(
        [
            keras.Input((32, 32, 3), name="image"),
            keras.layers.Resizing(size, size),
            to_bgr,
            vgg,
            keras.layers.GlobalAveragePooling2D(),
        ],
        name="vgg19_features",
    )
    turned = np.eye(3, dtype=np.float32)[::-1]  # (red green blue, blue green red)
    to_bgr.set_weights([turned[None, None], -np.array(IMAGENET_MEANS, np.float32)])
    return backbone


recipe = cifar10_recipe(
    backbone="VGG19",
    features=512,
    build_backbone=build_backbone,
    weights=PublishedWeights(
        folder="vgg19",
        name="vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        url="https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        digest="md5:253f8cb515780f3b799900260a226db6",
        bytes=80_134_624,
    ),
)
