"""Frozen backbones: built as a recipe says, put before its head, and their outputs computed once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from contracts.errors import NotFinite, RecipeFailed
from training.failures import code_file, recipe_code
from training.framework import keras, tf
from training.parameters import Vector
from training.recipe import Recipe, Settings

FEATURES_BATCH = 16
"""Of every call of a backbone, the last one filled up: what an example gives then depends on nothing beside it. VGG19
at 224 pixels takes 0.2 GB for each of its first layers' outputs."""


def build_backbone(recipe: Recipe, settings: Settings) -> Any:
    """A recipe's backbone, frozen: the same whatever was built before it, and whatever a run's seed is.

    Raises:
        RecipeFailed: the recipe raised, or returned something else.
        WeightsNotFound, WeightsUnfit: its weights are not there, or another model's.
    """
    build = recipe.build_backbone
    assert build is not None  # noqa: S101 - nobody asks for a backbone that there is not
    file = code_file(build)
    floatx = keras.config.floatx()
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    try:
        with recipe_code(file, "building the backbone"):
            backbone = build(settings)
    finally:
        keras.config.set_floatx(floatx)
    if not isinstance(backbone, keras.Model):
        raise RecipeFailed(file, f"build_backbone returned a {type(backbone).__name__}", "a keras.Model")
    check_one_input(backbone, file, "the backbone")
    if len(backbone.output_shape) != 2 or None in backbone.output_shape[1:]:
        received = f"the backbone's outputs have the shape {backbone.output_shape}"
        raise RecipeFailed(file, received, "features, (examples, features)")
    backbone.trainable = False
    return backbone


def composed(backbone: Any, head: Any, recipe: Recipe) -> Any:
    """The whole model, raw inputs → predictions. It shares its variables with both parts.

    Raises:
        RecipeFailed: the head takes other features than the backbone gives.
    """
    if backbone.output_shape[1:] != head.input_shape[1:]:
        received = f"the head takes {head.input_shape} and the backbone gives {backbone.output_shape}"
        raise RecipeFailed(code_file(recipe.build_model), received)
    if backbone.name == head.name:
        backbone.name += "_backbone"  # a model's parts go by different names
    given = backbone.inputs[0]
    inputs = keras.Input(given.shape[1:], dtype=given.dtype, name=given.name)
    return keras.Model(inputs, head(backbone(inputs)), name=re.sub(r"\W", "_", recipe.name))


def check_one_input(model: Any, file: str, what: str) -> None:
    """Refuse a model that does not say what it takes.

    Raises:
        RecipeFailed: it has no `keras.Input`, or several.
    """
    try:
        inputs = len(model.inputs)
    except (AttributeError, ValueError, TypeError):  # what Keras raises, by kind of model
        inputs = 0
    if inputs != 1:
        raise RecipeFailed(file, f"{what} has {inputs or 'no'} keras.Input", "one")


def compute_features(function: Callable[..., Any], x: Vector, features: int, file: str) -> Vector:
    """A backbone's outputs in half precision.

    Args:
        function: takes a tensor of FEATURES_BATCH examples; see `graphs.features_graph`.
        x: examples as the data set has them, shape (examples, *input).
        features: of each example.
        file: the recipe's, for errors.
    Returns:
        float16 of shape (examples, features).
    Raises:
        NotFinite: a feature is not, or is larger than half precision goes.
    """
    found = np.empty((len(x), features), np.float16)
    batch = np.zeros((FEATURES_BATCH, *x.shape[1:]), x.dtype)
    for low in range(0, len(x), FEATURES_BATCH):
        part = x[low : low + FEATURES_BATCH]
        batch[: len(part)] = part  # behind the last examples stand others, which nobody looks at
        with recipe_code(file, "computing features"):
            exact = function(tf.convert_to_tensor(batch)).numpy()[: len(part)]
        with np.errstate(over="ignore"):
            found[low : low + len(part)] = exact
        rows = np.flatnonzero(~np.isfinite(found[low : low + len(part)]).all(axis=1))
        if len(rows):
            largest = np.abs(exact[rows[0]]).max()
            received = f"the backbone's output for example {low + rows[0]} goes up to {largest:g}"
            advice = "Let the backbone end in smaller numbers, as a normalisation gives them, or `--set features=off`."
            raise NotFinite(file, received, "finite numbers up to 65504, the largest in half precision", advice=advice)
    return found
