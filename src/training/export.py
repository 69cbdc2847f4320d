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
from training.parameters import ModelVariables, Vector, read


def export_keras(compiled: CompiledRecipe, theta: Vector, constants: Mapping[str, Vector]) -> bytes:
    """The model as a `.keras` file: `keras.models.load_model` opens it in safe mode, and predicts from raw inputs.

    Raises:
        RecipeFailed: the model cannot be saved.
    """
    compiled.assign(theta, constants)
    with tempfile.TemporaryDirectory() as folder, recipe_code(compiled.file, "saving the model"):
        path = Path(folder) / "model.keras"
        compiled.whole.save(path)
        return path.read_bytes()


def export_safetensors(compiled: CompiledRecipe, theta: Vector, constants: Mapping[str, Vector]) -> bytes:
    """All floating tensors by name, frozen ones included, as a `.safetensors` file."""
    tensors = {name: np.ascontiguousarray(value) for name, value in compiled.layout.split(theta).items()}
    frozen = _frozen(compiled, theta, constants) if compiled.is_on_features else dict(constants)
    return bytes(save_safetensors(tensors | frozen, metadata={"recipe": compiled.recipe.name}))


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
            function(tf.convert_to_tensor(x[start : start + compiled.inference_batch])).numpy()
            for start in range(0, len(x), compiled.inference_batch)
        ]
    return np.concatenate(parts)


def _frozen(compiled: CompiledRecipe, theta: Vector, constants: Mapping[str, Vector]) -> dict[str, Vector]:
    """The frozen tensors of the whole model by name: the backbone's are in no run's constants."""
    compiled.assign(theta, constants)
    variables = ModelVariables(compiled.whole)
    return {name: read(variable) for name, variable in variables.named(variables.constants).items()}
