"""The runs that are simulated: most of them as small as shows what may go wrong, as many more can be tried then."""

from __future__ import annotations

from typing import Any, NamedTuple

from contracts.settings import OuterSettings, RunSettings

RUN_ID = "r-simulated"
LIMIT_S = 10.0


def settings(**changes: Any) -> RunSettings:
    """A small run: 3 workers, 2 slices, some rounds of several steps."""
    values: dict[str, Any] = {
        "recipe": "arithmetic",
        "recipe_digest": "0",
        "dataset": "none",
        "workers": 3,
        "batch_size": 2,
        "epochs": 2,
        "steps_per_round": 3,
        "slices": 2,
        "concurrency": 3,
        "time_limit_s": LIMIT_S,
        "claim_margin_s": 5.0,
        "max_attempts": 50,
        "deadline_s": 1e7,
        "outer": OuterSettings(),
    }
    return RunSettings(**(values | changes))


class Shape(NamedTuple):
    """A run to simulate, and how often of a hundred schedules. `clear_every` rounds there is a clearing-up."""

    name: str
    share: float
    settings: RunSettings
    train_examples: int = 23
    val_examples: int = 0
    clear_every: int = 1


def _short(workers: int, slices: int, rounds: int, steps: int = 2, **changes: Any) -> RunSettings:
    more = {"workers": workers, "slices": slices, "epochs": None, "rounds": rounds, "steps_per_round": steps}
    return settings(**(more | changes))


SHAPES = (
    Shape("one worker", 30, _short(1, 1, 1, 3)),
    Shape("one worker, cleared each round", 3, _short(1, 1, 4, 1)),
    Shape("two workers", 18, _short(2, 1, 2, 1)),
    Shape("two workers, two slices", 20, _short(2, 2, 1, 1)),
    Shape("two workers, two slices, two rounds", 5, _short(2, 2, 2, 1)),
    Shape("two workers, cleared each round", 2, _short(2, 1, 4, 1)),
    Shape("three workers, averaged", 8, _short(3, 1, 1, outer=OuterSettings(kind="sgd", learning_rate=1.0))),
    Shape("two workers, one at a time", 3, _short(2, 1, 2, concurrency=1, in_flight_per_place=1)),
    Shape("four workers, of which one is slow", 6, _short(4, 1, 1, time_limit_s=80.0)),
    Shape("long rounds, in several pauses", 3, _short(1, 1, 2, 12), 40),
    Shape("stops by patience", 1, settings(workers=2, patience=1, epochs=3, validate_every_rounds=1), 13, 5),
    Shape("three workers, two slices", 0.5, settings(), 37, 5),
    Shape("many rounds, cleared as it goes", 0.5, _short(2, 1, 13, 1), clear_every=8),
)
