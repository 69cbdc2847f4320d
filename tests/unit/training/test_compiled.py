"""Recipes kept warm, initial values from the seed alone, and the recipe's own mistakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from small_recipes import EVERYTHING, FEATURES, compiled, data, run_through, shared, started, with_model, work

from contracts.errors import RecipeFailed
from training.compiled import compiled_recipe
from training.datasets.source import DataSource
from training.loop import ShardRun
from training.numerics import fingerprint, pin_threads
from training.recipe import load_recipe

DIGITS = {"learning_rate": 0.05, "momentum": 0.9, "dropout": 0.1, "units": 4}


def test_a_recipe_is_kept_warm_by_what_decides_it(tmp_path: Path) -> None:
    first = compiled_recipe("digits-mlp", DIGITS)
    assert compiled_recipe("digits-mlp", dict(reversed(DIGITS.items()))) is first
    assert compiled_recipe("digits-mlp", DIGITS, sync="gradients") is not first
    assert compiled_recipe("digits-mlp", DIGITS) is first
    compiled_recipe("digits-mlp", DIGITS | {"units": 5})
    compiled_recipe("digits-mlp", DIGITS | {"units": 6})
    assert compiled_recipe("digits-mlp", DIGITS) is not first

    path = tmp_path / "mine.py"
    path.write_text((Path(__file__).parents[3] / "examples" / "my_recipe.py").read_text())
    settings = load_recipe(str(path)).settings
    mine = compiled_recipe(str(path), settings)
    assert compiled_recipe(str(path), settings) is mine
    path.write_text(path.read_text() + "\n# changed\n")
    assert compiled_recipe(str(path), settings) is not mine


def test_initial_values_come_from_the_seed_alone() -> None:
    cold, warm = compiled(), shared()
    warm.initial(7)
    run_through(started(warm, seed=8)[0])
    wanted, given = cold.initial(2**63 - 1), warm.initial(2**63 - 1)
    assert wanted[0].tobytes() == given[0].tobytes()
    assert {name: value.tobytes() for name, value in wanted[2].items()} == {
        name: value.tobytes() for name, value in given[2].items()
    }
    assert not (cold.initial(1)[0] == wanted[0]).all()


def test_frozen_layers_stay_as_they_are() -> None:
    def build(settings: Any) -> keras.Model:
        frozen = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(4), keras.layers.BatchNormalization()])
        frozen.trainable = False
        return keras.Sequential([keras.Input((FEATURES,)), frozen, keras.layers.Dense(3, activation="softmax")])

    recipe = compiled(with_model(build))
    assert recipe.layout.parameter_count == 4 * 3 + 3
    theta, constants, state = recipe.initial(5)
    assert len(constants) == 6
    _, others, _ = recipe.initial(6)
    run = ShardRun(recipe, work(), *data())
    run.start(theta, others, state)
    run.start(theta, constants, state)
    run_through(run)
    after = recipe.variables.named(recipe.variables.constants)
    assert all((after[name].numpy() == value).all() for name, value in constants.items())
    assert not any(name.startswith("gradient") or "batch_norm" in name for name in run.checkpoint())


def test_a_model_without_an_input_is_built_from_the_data_set() -> None:
    def build(settings: Any) -> keras.Model:
        return keras.Sequential([keras.layers.Dense(3, activation="softmax")])

    assert compiled(with_model(build)).layout.parameter_count == FEATURES * 3 + 3
    unshaped = DataSource(name="noise", load=EVERYTHING.dataset.load)  # type: ignore[union-attr]
    with pytest.raises(RecipeFailed, match=r"no keras\.Input"):
        compiled(with_model(build, dataset=unshaped))


def test_a_policy_that_a_recipe_sets_does_not_reach_the_next() -> None:
    def build(settings: Any) -> keras.Model:
        keras.config.set_floatx("float64")
        return keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(3, activation="softmax")])

    assert compiled(with_model(build)).layout.dtype == "float64"
    assert compiled().layout.dtype == "float32"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"build_model": lambda settings: settings["unit"]}, r"test_compiled\.py:\d+: building the model: KeyError"),
        ({"build_model": lambda settings: 3}, r"build_model returned a int"),
        ({"build_loss": lambda settings: 1 / 0}, r"test_compiled\.py:\d+: building the loss: ZeroDivisionError"),
        ({"build_optimizer": lambda settings: 1 / 0}, r"test_compiled\.py:\d+: building the optimizer: ZeroDiv"),
    ],
)
def test_what_the_recipe_raises_names_its_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeFailed, match=message):
        compiled(replace(EVERYTHING, **changes))


def test_a_model_that_does_not_fit_its_data_is_named() -> None:
    recipe = shared()
    x, y = data()
    with pytest.raises(RecipeFailed, match="compiling the model: ValueError"):
        ShardRun(recipe, work(), x[:, :-1], y)


def test_the_fingerprint_says_what_decides_bits() -> None:
    text = fingerprint()
    for part in ("tensorflow 2.", "keras 3.", "oneDNN", "1 thread, deterministic"):
        assert part in text
    pin_threads(1)


def test_other_data_types_get_a_graph_of_their_own() -> None:
    recipe = shared()
    theta, constants, state = recipe.initial(5)
    x, y = data()
    updates = []
    for labels in (y, y.astype(np.int64)):
        run = ShardRun(recipe, work(), x, labels)
        run.start(theta, constants, state)
        run_through(run)
        updates.append(run.update(theta).tobytes())
    assert updates[0] == updates[1]
