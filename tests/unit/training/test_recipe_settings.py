"""`--set key=value` against a recipe's defaults."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import InvalidSetting
from training.recipe import Recipe
from training.recipe_settings import resolve_settings


def nothing(settings: Any) -> Any: ...


RECIPE = Recipe(
    name="r",
    title="t",
    dataset="digits",
    build_model=nothing,
    build_optimizer=nothing,
    build_loss=nothing,
    settings={"learning_rate": 0.1, "dropout": 0.0, "units": 8, "bias": True, "kind": "relu", "shift": -1.5, "skip": 0},
)


@pytest.mark.parametrize(
    ("key", "given", "expected"),
    [
        ("learning_rate", "1e-3", 0.001),
        ("learning_rate", 1, 1.0),
        ("dropout", "0.5", 0.5),
        ("units", "16", 16),
        ("units", 16.0, 16),
        ("bias", "no", False),
        ("bias", True, True),
        ("kind", "tanh", "tanh"),
        ("shift", "-3", -3.0),
        ("skip", "0", 0),
    ],
)
def test_values_take_the_type_of_their_default(key: str, given: Any, expected: Any) -> None:
    settings = resolve_settings(RECIPE, {key: given})
    assert settings == dict(RECIPE.settings) | {key: expected}
    assert type(settings[key]) is type(RECIPE.settings[key])


@pytest.mark.parametrize(
    ("key", "given", "message"),
    [
        ("lerning_rate", "1", "no such setting, expected one of learning_rate, dropout, units"),
        ("learning_rate", "nan", "a finite number"),
        ("learning_rate", "-inf", "a finite number"),
        ("learning_rate", "0", "above 0"),
        ("learning_rate", "-0.1", "above 0"),
        ("learning_rate", "fast", "a number"),
        ("learning_rate", True, "a number"),
        ("dropout", "1", "at least 0 and below 1"),
        ("dropout", "-0.1", "at least 0 and below 1"),
        ("units", "0", "at least 1"),
        ("units", "8.5", "a whole number"),
        ("units", "many", "a whole number"),
        ("units", "1e400", "a finite number"),
        ("units", None, "a whole number"),
        ("skip", "-1", "at least 0"),
        ("bias", "maybe", "true or false"),
        ("kind", 3, "a text"),
    ],
)
def test_bad_values_are_refused_and_named(key: str, given: Any, message: str) -> None:
    with pytest.raises(InvalidSetting, match=f"--set {key}: .*{message}"):
        resolve_settings(RECIPE, {key: given})
