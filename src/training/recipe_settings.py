"""A recipe's own settings: `--set key=value` against the recipe's defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from contracts.errors import InvalidSetting
from training.recipe import Recipe

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}


def resolve_settings(recipe: Recipe, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's settings with `overrides` in place of defaults, each of its default's type.

    Ranges follow from names and defaults: a rate is above 0; dropout and momentum are at least 0 and below 1; a
    whole number whose default is at least 1 stays so; a number whose default is not negative does not become so. The
    recipe's own `ranges` hold beside these.

    Args:
        overrides: key → text from a command line, or a value already of the right type.
    Returns:
        every setting of the recipe, in the recipe's order.
    Raises:
        InvalidSetting: a key is not the recipe's, or a value is of another type or out of range.
    """
    unknown = [key for key in overrides if key not in recipe.settings]
    if unknown:
        known = ", ".join(recipe.settings) or "none: this recipe has no settings"
        raise InvalidSetting(f"--set {unknown[0]}", f"recipe {recipe.name} has no such setting", f"one of {known}")
    settings = dict(recipe.settings)
    for key, value in overrides.items():
        settings[key] = _checked(key, value, recipe.settings[key])
        low, high = recipe.ranges.get(key, (-math.inf, math.inf))
        if key in recipe.ranges and not low <= settings[key] <= high:
            raise InvalidSetting(f"--set {key}", str(settings[key]), f"{low} to {high}")
    return settings


def _checked(key: str, value: Any, default: Any) -> Any:
    where = f"--set {key}"
    if isinstance(default, bool):
        return _bool(where, value)
    if isinstance(default, int | float):
        number = _number(where, value, whole=isinstance(default, int))
        _check_range(where, key, number, default)
        return number
    if isinstance(default, str) and not isinstance(value, str):
        raise InvalidSetting(where, repr(value), "a text")
    return value


def _bool(where: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text not in _TRUE | _FALSE:
        raise InvalidSetting(where, repr(value), "true or false")
    return text in _TRUE


def _number(where: str, value: Any, *, whole: bool) -> int | float:
    expected = "a whole number" if whole else "a number"
    if isinstance(value, bool):
        raise InvalidSetting(where, repr(value), expected)
    try:
        number = float(value)
        if not math.isfinite(number):
            raise InvalidSetting(where, repr(value), "a finite number")
        if not whole:
            return number
        exact = int(value) if not isinstance(value, float) else int(number)
    except (TypeError, ValueError, OverflowError):
        raise InvalidSetting(where, repr(value), expected) from None
    if exact != number:
        raise InvalidSetting(where, repr(value), expected)
    return exact


def _check_range(where: str, key: str, number: float, default: float) -> None:
    if ("dropout" in key or "momentum" in key) and 0 <= default < 1:
        if not 0 <= number < 1:
            raise InvalidSetting(where, str(number), "at least 0 and below 1")
    elif key.endswith("rate") and number <= 0:
        raise InvalidSetting(where, str(number), "above 0")
    elif isinstance(default, int) and default >= 1 and number < 1:
        raise InvalidSetting(where, str(number), "at least 1")
    elif default >= 0 and number < 0:
        raise InvalidSetting(where, str(number), "at least 0")
