"""Loads weights into a recipe's backbone to see whether they fit, in a process of its own: `-m runs.check_weights`."""

from __future__ import annotations

from typing import Any

import msgspec

from runs import own_process


class Question(msgspec.Struct, frozen=True):
    """Which recipe: a built-in name or a path; its settings, weights by their path on this machine."""

    recipe: str
    settings: dict[str, Any]


def load(question: Question) -> bool:
    """Build the backbone.

    Raises:
        WeightsNotFound, WeightsUnfit: the weights are not there, or another model's.
        RecipeFailed: the recipe's code raised.
    """
    from training.backbones import build_backbone  # TensorFlow
    from training.recipe import load_recipe

    build_backbone(load_recipe(question.recipe), question.settings)
    return True


if __name__ == "__main__":
    own_process.answer(Question, load)
