"""What a run takes where its user says nothing, so that N workers learn what one would from the same examples.

Three rules, measured in `make bench-converge` and explained in docs/adr/0004:

- a worker's batch is its share of the recipe's batch, at least 8: N workers then step on as many examples as one;
- the inner learning rate shrinks with the batch (the linear scaling rule, Goyal and others, arXiv 1706.02677): steps on
  fewer examples are noisier;
- the outer optimizer makes up for it: Nesterov momentum whose steps add up to N times the mean change, up to 0.7 / 0.1
  as in DiLoCo. One worker needs no outer optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.settings import OuterSettings
from runs.recipe_summary import RecipeSummary

MIN_BATCH = 8
OUTER_MOMENTUM = 0.9
OUTER_RATE_PER_WORKER = 1 - OUTER_MOMENTUM
MAX_OUTER_RATE = 0.7
AVERAGING = {"kind": "sgd", "learning_rate": 1.0}


def batch_size(recipe: RecipeSummary, workers: int) -> int:
    """A worker's share of the recipe's batch, at least 8 unless the recipe's own is smaller."""
    return min(recipe.batch_size, max(MIN_BATCH, recipe.batch_size // workers))


def recipe_settings(recipe: RecipeSummary, worker_batch_size: int, sync: str) -> dict[str, Any]:
    """The recipe's settings, its `learning_rate` in proportion to the batch unless it was set by hand."""
    settings = dict(recipe.settings)
    rate = settings.get("learning_rate")
    if sync == "local" and isinstance(rate, float) and "learning_rate" not in recipe.overridden:
        settings["learning_rate"] = rate * min(1.0, worker_batch_size / recipe.batch_size)
    return settings


def outer(asked: Mapping[str, Any], recipe: RecipeSummary, workers: int, sync: str) -> dict[str, Any]:
    """The outer optimizer: what was asked of it, and for the rest what suits.

    With `sync="gradients"` it is the only optimizer, so it takes the recipe's own rate and momentum.
    """
    kind = asked.get("kind")
    if sync == "gradients":
        suits = {
            "kind": "momentum",
            "learning_rate": recipe.settings.get("learning_rate", 0.01),
            "momentum": recipe.settings.get("momentum", OUTER_MOMENTUM),
        }
    elif kind == "sgd" or (kind is None and workers == 1):
        suits = AVERAGING
    elif kind == "adam":
        suits = {"learning_rate": 0.001, "momentum": OUTER_MOMENTUM}
    else:
        rate = min(MAX_OUTER_RATE, round(OUTER_RATE_PER_WORKER * workers, 3))
        suits = {"kind": "nesterov", "learning_rate": rate, "momentum": OUTER_MOMENTUM}
    known = set(OuterSettings.__struct_fields__)
    return {name: value for name, value in suits.items() if name in known} | dict(asked)
