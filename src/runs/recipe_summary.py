"""What a start must know of a recipe: enough to check a request, without TensorFlow."""

from __future__ import annotations

from typing import Any

import msgspec

from training.weights import PublishedWeights


class RecipeSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A recipe as data.

    `location` is a built-in's name, or `recipes/<digest>.py` on the shared files for a user's own. `settings` are
    the recipe's own, overrides applied; `overridden` names those that were set by hand. `train_examples` is None
    where only loading the data tells. `backbone_digest` is that of `training.recipe.backbone_digest`.
    `takes_weights`: the setting `weights` names the file of a backbone's; where it is empty, the published one.
    """

    name: str
    title: str
    location: str
    digest: str
    dataset: str
    batch_size: int
    epochs: int
    settings: dict[str, Any]
    overridden: tuple[str, ...] = ()
    train_examples: int | None = None
    backbone_digest: str = ""
    takes_weights: bool = False
    published_weights: PublishedWeights | None = None
