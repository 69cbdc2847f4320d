"""What a start must know of a recipe, without importing TensorFlow here, and a user's recipe onto the shared files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import xxhash

from contracts.errors import RecipeFailed
from contracts.ports import SharedFiles
from runs.describe_recipe import DataPlaces, Question, check_data, summarise_recipe
from runs.own_process import ask
from runs.recipe_summary import RecipeSummary
from training.recipe import recipe_digest


def is_own(recipe: str) -> bool:
    """Whether this names a user's file, not a built-in recipe."""
    return recipe.endswith(".py")


def describe(recipe: str, overrides: Mapping[str, str], places: DataPlaces | None = None) -> RecipeSummary:
    """A recipe as data, its settings overridden. A user's file is run in a process of its own.

    Args:
        recipe: a built-in name, or a path that ends in `.py`.
        overrides: setting → text.
        places: where to check the data of a user's recipe, while its process is there; see `check_builtin_data`.
    Raises:
        UnknownRecipe: there is none.
        RecipeFailed: its code raised, or took its process along.
        InvalidSetting: an override is not one of its settings, or of another type or range.
        DataNotFound, DataCorrupted: with `places`, a file of the data set is missing or not what it should be.
    """
    if not is_own(recipe):
        return summarise_recipe(recipe, recipe, overrides)
    recipe_digest(recipe)  # a missing file is no reason to start a process
    question = Question(recipe, dict(overrides), places)
    return ask(
        "runs.describe_recipe", question, RecipeSummary, lambda how: RecipeFailed(recipe, f"{how} before it was read")
    )


def check_builtin_data(recipe: str, places: DataPlaces) -> None:
    """Make sure that a built-in recipe's data are there and whole; nothing for a user's own, which `describe` checks.

    Raises:
        DataNotFound: a file is nowhere and cannot be downloaded.
        DataCorrupted: a file is cut off or has another digest.
    """
    if not is_own(recipe):
        check_data(recipe, places)


def keep(files: SharedFiles, recipe: str, summary: RecipeSummary) -> None:
    """Copy a user's recipe to where its run looks for it; nothing for a built-in one.

    Raises:
        RecipeFailed: the file is not the one that was described.
    """
    if not is_own(recipe) or files.exists(summary.location):
        return
    source = Path(recipe).read_bytes()
    if xxhash.xxh3_128_hexdigest(source) != summary.digest:
        raise RecipeFailed(recipe, "it was changed while it was being read", "a file at rest", advice="Start again.")
    files.write(summary.location, [source], durable=True)
