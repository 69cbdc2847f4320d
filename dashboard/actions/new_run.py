"""A run as somebody asks for it on the page, and as `lambdafit train` is told of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from contracts.errors import InvalidSetting

OPTIONS = (
    "data",
    "workers",
    "epochs",
    "rounds",
    "batch_size",
    "steps_per_round",
    "validate_every_rounds",
    "sync",
    "update_dtype",
    "outer",
    "outer_learning_rate",
    "outer_momentum",
    "seed",
    "max_cost_usd",
    "target_accuracy",
    "patience",
    "deadline_s",
)
"""Fields that are options of `lambdafit train` by the same name, in the order in which they are written."""


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is asked for. None is the command line's own default, and stays out of it.

    Args:
        recipe: a built-in name, or the path of a .py or .keras file on the machine of the dashboard.
        data: of a .keras model: a data set's name, or a folder of .npy files.
        overrides: settings of the recipe as (name, value) texts.
    """

    recipe: str
    data: str | None = None
    workers: int | None = None
    epochs: int | None = None
    rounds: int | None = None
    batch_size: int | None = None
    steps_per_round: int | None = None
    validate_every_rounds: int | None = None
    sync: str | None = None
    update_dtype: str | None = None
    outer: str | None = None
    outer_learning_rate: float | None = None
    outer_momentum: float | None = None
    seed: int | None = None
    max_cost_usd: float | None = None
    target_accuracy: float | None = None
    patience: int | None = None
    deadline_s: float | None = None
    overrides: tuple[tuple[str, str], ...] = ()


DEMO = NewRun(recipe="digits-mlp", workers=4)
"""What the first screen offers: trains in seconds, on data that come with scikit-learn."""


def train_arguments(new_run: NewRun) -> tuple[str, ...]:
    """`train RECIPE --workers 4 …`: what differs from the defaults, without where it is to train.

    Raises:
        InvalidSetting: the recipe is missing, or a text cannot be an argument.
    """
    recipe = new_run.recipe.strip()
    if not recipe or recipe.startswith("-"):
        raise InvalidSetting("recipe", repr(new_run.recipe), "a built-in recipe, or the path of a .py or .keras file")
    arguments = ("train", recipe, *_options(new_run), *_overrides(new_run))
    if any("\0" in argument for argument in arguments):
        raise InvalidSetting("recipe", "a text with a zero byte", "text")
    return arguments


def _options(new_run: NewRun) -> Iterator[str]:
    for name in OPTIONS:
        value: Any = getattr(new_run, name)
        if value is not None:
            yield f"--{name.replace('_', '-')}"
            yield plain(value)


def _overrides(new_run: NewRun) -> Iterator[str]:
    for name, value in new_run.overrides:
        yield "--set"
        yield f"{name}={value}"


def plain(value: Any) -> str:
    """A value as one types it: 0.05, 10, nesterov."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


DEFAULTS: dict[str, Any] = {"workers": 4, "sync": "local", "update_dtype": "float32", "seed": 0, "max_cost_usd": 10.0}
"""What a form shows where `lambdafit train` has a default that is always the same."""

OWN = "own"
"""Chosen in place of a built-in recipe: a file."""


def from_form(values: Mapping[str, Any]) -> NewRun:
    """The run that a form asks for; what is as by default is left out.

    Args:
        values: by field of `NewRun`, None where nothing was said, and besides
            `path`: the file, where `recipe` is `OWN`;
            `length_kind`: "epochs" or "rounds", and `length`: how many;
            `settings`: of a built-in recipe, name → value; `settings_text`: of a file, KEY=VALUE, one a line.
    """
    is_own = values.get("recipe") == OWN
    recipe = str(values.get("path" if is_own else "recipe") or "")
    fields = {name: values.get(name) for name in OPTIONS}
    fields |= {"epochs": None, "rounds": None, str(values.get("length_kind") or "epochs"): values.get("length")}
    told = {name: value for name, value in fields.items() if value not in (None, "") and value != DEFAULTS.get(name)}
    if not recipe.strip().endswith(".keras"):
        told.pop("data", None)
    if is_own:
        overrides = _settings_of(str(values.get("settings_text") or ""))
    else:
        settings: Mapping[str, Any] = values.get("settings") or {}
        overrides = tuple((name, plain(value)) for name, value in settings.items() if value not in (None, ""))
    return NewRun(recipe=recipe, overrides=overrides, **told)


def _settings_of(text: str) -> tuple[tuple[str, str], ...]:
    """KEY=VALUE lines. One without `=` stays as it is: the command says what is wrong with it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    parts = [line.partition("=") for line in lines]
    return tuple((name.strip(), value.strip() if equals else "") for name, equals, value in parts)
