"""A saved Keras model as a recipe: whole or refused, and never run as code."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import DataNotFound, LambdafitError, RecipeFailed
from training.compiled import CompiledRecipe
from training.framework import keras
from training.recipe import load_recipe
from training.saved_model import recipe_source


def save(path: Path, loss: Any = "sparse_categorical_crossentropy", optimizer: Any = "default") -> Any:
    """A little model on disk."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation="softmax")])
    if optimizer == "default":
        optimizer = keras.optimizers.SGD(0.25, momentum=0.5)
    if optimizer is not None:
        model.compile(optimizer=optimizer, loss=loss)
    model.save(path)
    return model


def as_recipe(tmp_path: Path, dataset: str = "digits", folder: str = "") -> Any:
    file = tmp_path / "written.py"
    file.write_text(recipe_source(tmp_path / "model.keras", "mine", dataset, folder))
    return load_recipe(str(file))


def test_weights_optimizer_and_loss_are_the_files(tmp_path: Path) -> None:
    model = save(tmp_path / "model.keras")
    recipe = as_recipe(tmp_path)
    assert (recipe.name, recipe.dataset, recipe.task, recipe.settings) == (
        "mine", "digits", "classification", {"learning_rate": 0.25},
    )  # fmt: skip
    compiled = CompiledRecipe(recipe, {"learning_rate": 0.125})
    theta, _, _ = compiled.initial(seed=1)
    assert np.array_equal(theta, np.concatenate([weight.ravel() for weight in model.get_weights()]))
    assert float(compiled.optimizer.learning_rate) == 0.125
    assert compiled.optimizer.momentum == 0.5
    loss = recipe.build_loss({})(np.array([1]), np.array([[0.2, 0.5, 0.3]]))
    assert np.allclose(loss, -np.log(0.5))


@pytest.mark.parametrize(("loss", "task"), [
    ("mean_squared_error", "regression"), ("mae", "regression"), ("categorical_crossentropy", "classification"),
])  # fmt: skip
def test_the_task_follows_from_the_loss(tmp_path: Path, loss: str, task: str) -> None:
    for form in (loss, keras.losses.get(loss)):
        save(tmp_path / "model.keras", form)
        assert as_recipe(tmp_path).task == task
    save(tmp_path / "model.keras", keras.losses.MeanSquaredError())
    assert as_recipe(tmp_path).task == "regression"


def test_a_schedule_is_kept_as_it_is(tmp_path: Path) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    save(tmp_path / "model.keras", optimizer=keras.optimizers.Adam(schedule))
    recipe = as_recipe(tmp_path)
    assert recipe.settings == {}
    assert recipe.build_optimizer({}).get_config()["learning_rate"]["class_name"] == "CosineDecay"


def broken(path: Path) -> None:
    path.write_bytes(b"PK no")


def without_config(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.json", json.dumps({}))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (broken, "it is no Keras model"),
        (without_config, "it is no Keras model"),
        (lambda path: save(path, optimizer=None), "without an optimizer"),
        (lambda path: save(path, keras.losses.SparseCategoricalCrossentropy(from_logits=True)), "wants logits"),
        (lambda path: None, "it cannot be read"),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path: Path, make: Any, text: str) -> None:
    make(tmp_path / "model.keras")
    with pytest.raises(RecipeFailed, match=text):
        as_recipe(tmp_path)


def test_a_model_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "model.keras")
    monkeypatch.setattr("training.saved_model.LARGEST_BYTES", 100)
    with pytest.raises(RecipeFailed, match=r"expected at most 0\.0 MB"):
        as_recipe(tmp_path)


def test_code_in_a_model_is_not_run(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    model.save(tmp_path / "model.keras")
    with pytest.raises(RecipeFailed, match=r"Lambda|unsafe|safe_mode"):
        CompiledRecipe(as_recipe(tmp_path), {"learning_rate": 0.1})


def test_ones_own_data_are_loaded_where_they_lie(tmp_path: Path) -> None:
    save(tmp_path / "model.keras")
    folder = tmp_path / "arrays"
    folder.mkdir()
    for name in ("x_train", "y_train", "x_test", "y_test"):
        np.save(folder / f"{name}.npy", np.zeros((4, 2) if name.startswith("x") else 4, np.uint8))
    (folder / "class_names.txt").write_text("a\nb\nc\n")
    recipe = as_recipe(tmp_path, "arrays", str(folder))
    assert recipe.dataset.class_names == ("a", "b", "c")
    assert recipe.dataset.load(tmp_path).x_train.shape == (4, 2)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    elsewhere = as_recipe(tmp_path, "arrays", str(folder))  # as a function in the cloud reads it
    with pytest.raises(LambdafitError):
        elsewhere.dataset.load(tmp_path)
    with pytest.raises(DataNotFound, match="it lies in a stack"):
        as_recipe(tmp_path, "arrays").dataset.load(tmp_path)
