"""A run as somebody asks for it on the page, and as `lambdafit train` is told of it."""

from __future__ import annotations

from collections.abc import Iterator
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
