"""Describes a recipe's model and data by size, in a process of its own: `python -m runs.describe_model`.

It builds the model, which takes TensorFlow, and reads the data if they are there; it writes nothing and downloads
nothing.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from runs import own_process
from runs.describe_recipe import DataPlaces, missing_bytes
from training.datasets.fetch import check_source
from training.datasets.source import DataSource, source_named
from training.feature_blocks import FEATURE_BYTES
from training.recipe import load_recipe, without_weights

VALIDATION_FRACTION = 0.1
LABEL_BYTES = 8
VALUE_BYTES = 4


class ModelQuestion(msgspec.Struct, frozen=True):
    """Which model: a built-in name or a path, its settings, and how workers go together."""

    recipe: str
    settings: dict[str, Any]
    sync: str
    seed: int
    places: DataPlaces


class ModelSizes(msgspec.Struct, frozen=True):
    """What there is of it. The sizes of data that are not here follow from the model's input; `is_data_here` tells.

    `backbone_flops` are those of one example's pass through a frozen backbone, `weights_bytes` its weights;
    `feature_bytes` is 0 where its outputs are not what the model trains on.
    """

    parameters: int
    state_bytes: int
    constants_bytes: int
    examples: int
    test_examples: int
    example_bytes: int
    is_data_here: bool
    backbone_flops: float = 0.0
    feature_bytes: int = 0
    weights_bytes: int = 0


def describe(question: ModelQuestion) -> ModelSizes:
    """Build the model and look at the data.

    Raises:
        RecipeFailed: the recipe's code raised.
        DataNotFound, DataCorrupted: a file of the data set is not what it should be.
    """
    from training.compiled import compiled_recipe  # TensorFlow

    settings = without_weights(load_recipe(question.recipe), question.settings)
    compiled = compiled_recipe(question.recipe, settings, sync=question.sync)  # type: ignore[arg-type]
    parameters, constants, state = compiled.initial(question.seed)
    recipe = load_recipe(question.recipe)
    source = source_named(recipe.dataset)
    backbone = compiled.backbone if recipe.build_backbone is not None else None
    examples, test_examples, example_bytes, is_here = _data(source, question.places, compiled.model.input_shape)
    return ModelSizes(
        parameters=int(parameters.size),
        state_bytes=sum(int(array.nbytes) for array in state.values()),
        constants_bytes=sum(int(array.nbytes) for array in constants.values()),
        examples=examples,
        test_examples=test_examples,
        example_bytes=example_bytes,
        is_data_here=is_here,
        backbone_flops=_flops(backbone) if backbone is not None else 0.0,
        feature_bytes=backbone.output_shape[1] * FEATURE_BYTES
        if backbone is not None and compiled.is_on_features
        else 0,
        weights_bytes=backbone.count_params() * VALUE_BYTES if backbone is not None else 0,
    )


def _flops(model: Any) -> float:
    """Of one example's pass: two for each value of a kernel, wherever it is applied."""
    total = 0.0
    for layer in model.layers:
        if hasattr(layer, "layers"):
            total += _flops(layer)
        elif (kernel := getattr(layer, "kernel", None)) is not None:
            places = math.prod(layer.output.shape[1:-1])  # height × width of a convolution's output
            total += 2.0 * math.prod(kernel.shape) * places
    return total


def _data(source: DataSource, places: DataPlaces, input_shape: Any) -> tuple[int, int, int, bool]:
    """Examples, test examples and bytes of each: as loaded, or as far as the source and the model say."""
    folder = Path(places.data_folder) if places.data_folder else None
    downloads = Path(places.download_folder)
    if not missing_bytes(source, folder, downloads):
        arrays = source.load(check_source(source, folder, downloads) if source.files else downloads)
        total = sum(int(array.nbytes) for array in (arrays.x_train, arrays.y_train, arrays.x_test, arrays.y_test))
        count = len(arrays.x_train) + len(arrays.x_test)
        return len(arrays.x_train), len(arrays.x_test), max(1, total // count), True
    shape = source.input_shape or tuple(side for side in input_shape if side is not None)
    return source.train_examples or 0, source.test_examples or 0, math.prod(shape) * VALUE_BYTES + LABEL_BYTES, False


if __name__ == "__main__":
    own_process.answer(ModelQuestion, describe)
