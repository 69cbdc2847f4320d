"""CIFAR-10 by transfer: MobileNetV2 as it was trained on ImageNet, frozen, and a new softmax head: a small backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.recipe import Settings
from training.recipes.softmax_head import cifar10_recipe
from training.weights import PublishedWeights, load_weights

if TYPE_CHECKING:
    import keras


def build_backbone(settings: Settings) -> keras.Model:
    """Pixels in 0 … 255 of shape (examples, 32, 32, 3) → features of shape (examples, 1280)."""
    import keras

    size = settings["image_size"]
    mobile = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(size, size, 3), name="mobilenetv2"
    )
    load_weights(mobile, settings["weights"])
    return keras.Sequential(
        [
            keras.Input((32, 32, 3), name="image"),
            keras.layers.Resizing(size, size),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            mobile,
            keras.layers.GlobalAveragePooling2D(),
        ],
        name="mobilenetv2_features",
    )


recipe = cifar10_recipe(
    backbone="MobileNetV2",
    features=1280,
    build_backbone=build_backbone,
    # Keras states no digest of this file, so that its address, by https, is all that vouches for it.
    weights=PublishedWeights(
        folder="mobilenetv2",
        name="mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        url="https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        bytes=9_406_464,
    ),
)
