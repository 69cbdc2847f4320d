"""What a user asks of a run, checked before anything is written or paid for."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from contracts.errors import InvalidSetting

Sync = Literal["local", "gradients"]
UpdateType = Literal["float32", "bfloat16"]
OuterKind = Literal["sgd", "momentum", "nesterov", "adam"]
Positive = Annotated[int, Meta(ge=1)]
PositiveFloat = Annotated[float, Meta(gt=0)]

MAX_WORKERS = 1024


class OuterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The outer optimizer, which steps once a round on the mean of the workers' updates.

    `nesterov` with 0.7 and 0.9 is DiLoCo (arXiv 2311.08105); `sgd` with rate 1 is plain averaging.
    """

    kind: OuterKind = "nesterov"
    learning_rate: PositiveFloat = 0.7
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.9
    beta_2: Annotated[float, Meta(gt=0, lt=1)] = 0.999
    epsilon: PositiveFloat = 1e-7


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides a run's result, and the limits that end it early. Never changes, but for the limits.

    Exactly one of `epochs` and `rounds` is set. `batch_size` is that of one worker's step. `recipe_name` is for
    people: a user's own recipe is found as `recipes/<digest>.py`. `data_folder` names the very folder of the bucket
    that holds the data set; where it is empty, the newest one of the data set's name is taken.

    `backbone_digest` names the frozen backbone whose outputs are computed once and trained on: its code, weights,
    preprocessing and framework. Where it is empty, every step computes the whole model.

    `update_dtype` says as what workers hand in their updates: `float32` as the parameters are, `bfloat16` rounded.

    `in_flight_per_place` of 2 keeps one attempt at the door of every place, where an engine queues; on AWS, where every
    invocation runs at once, it is 1.
    """

    recipe: str
    recipe_name: str = ""
    recipe_digest: str
    dataset: str
    data_folder: Annotated[str, Meta(pattern=r"^(datasets/\w[\w.\-]*)?$")] = ""
    workers: Annotated[int, Meta(ge=1, le=MAX_WORKERS)]
    batch_size: Positive
    epochs: Positive | None = None
    rounds: Positive | None = None
    steps_per_round: Positive | None = None
    validate_every_rounds: Positive | None = None
    sync: Sync = "local"
    update_dtype: UpdateType = "float32"
    outer: OuterSettings = OuterSettings()
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    recipe_settings: dict[str, Any] = {}
    backbone_digest: Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?$")] = ""

    target_accuracy: Annotated[float, Meta(gt=0, le=1)] | None = None
    patience: Positive | None = None
    max_cost_usd: PositiveFloat = 10.0
    deadline_s: PositiveFloat = 86_400.0

    concurrency: Positive = 1
    in_flight_per_place: Positive = 2
    threads: Positive = 1
    slices: Positive | None = None
    time_limit_s: PositiveFloat = 900.0
    memory_mb: Annotated[int, Meta(ge=128, le=10_240)] = 3_008
    max_attempts: Positive = 3
    offer_s: PositiveFloat = 20.0
    claim_margin_s: PositiveFloat = 30.0

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.rounds is None):
            raise InvalidSetting("--epochs, --rounds", "both or neither", "exactly one of them")
        floats = {
            "--max-cost-usd": self.max_cost_usd,
            "--deadline-s": self.deadline_s,
            "--outer-learning-rate": self.outer.learning_rate,
        }
        for option, value in floats.items():
            if not math.isfinite(value):
                raise InvalidSetting(option, str(value), "a finite number")


def make_settings(values: dict[str, Any]) -> RunSettings:
    """Checked settings from plain values, as the command line or an event gives them.

    Raises:
        InvalidSetting: a value is missing, of another type or out of range; the message names it.
    """
    try:
        return msgspec.convert(values, RunSettings)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at ")
        names = path.strip("`$.").split(".")
        expected = problem.removeprefix("Expected ").replace("`", "")
        raise InvalidSetting(f"--{'-'.join(names).replace('_', '-')}", _received(values, names), expected) from None


def _received(values: dict[str, Any], names: list[str]) -> str:
    """The value at a path like outer.momentum, as text."""
    value: Any = values
    for name in names:
        value = value.get(name, "missing") if isinstance(value, dict) else getattr(value, name, "missing")
    return repr(value)
