"""A finished model as files, and its predictions."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save as save_safetensors

from training.compiled import CompiledRecipe
from training.failures import recipe_code
from training.framework import tf
from training.parameters import Vector

_PREDICT_BATCH = 512


def export_keras(compiled: CompiledRecipe, theta: Vector, constants: Mapping[str, Vector]) -> bytes:
    """The model as a `.keras` file: `keras.models.load_model` opens it in safe mode, and predicts from raw inputs.

    Raises:
        RecipeFailed: the model cannot be saved.
    """
    compiled.assign(theta, constants)
    with tempfile.TemporaryDirectory() as folder, recipe_code(compiled.file, "saving the model"):
        path = Path(folder) / "model.keras"
        compiled.model.save(path)
        return path.read_bytes()


def export_safetensors(compiled: CompiledRecipe, theta: Vector, constants: Mapping[str, Vector]) -> bytes:
    """All floating tensors by name, frozen ones included, as a `.safetensors` file."""
    tensors = {name: np.ascontiguousarray(value) for name, value in compiled.layout.split(theta).items()}
    return bytes(save_safetensors(tensors | dict(constants), metadata={"recipe": compiled.recipe.name}))


def predict(compiled: CompiledRecipe, theta: Vector, constants: Mapping[str, Vector], x: Vector) -> Vector:
    """The model's output for each example: probabilities where the recipe classifies.

    Args:
        x: shape (examples, *input), as in the data set: pixels are not scaled.
    Returns:
        shape (examples, outputs).
    """
    compiled.assign(theta, constants)
    function = compiled.predict_function(tf.convert_to_tensor(x[:1]))
    with recipe_code(compiled.file, "predicting"):
        parts = [
            function(tf.convert_to_tensor(x[start : start + _PREDICT_BATCH])).numpy()
            for start in range(0, len(x), _PREDICT_BATCH)
        ]
    return np.concatenate(parts)
