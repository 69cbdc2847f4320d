"""Describes a user's recipe, in a process of its own: `python -m runs.describe_recipe`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from runs import own_process
from runs.recipe_summary import RecipeSummary
from training.datasets.fetch import check_source, is_unpacked
from training.datasets.source import DataSource, source_named
from training.recipe import backbone_digest, load_recipe, recipe_digest
from training.recipe_settings import resolve_settings
from training.weights import WEIGHTS


class DataPlaces(msgspec.Struct, frozen=True):
    """Where data sets are looked for, and where downloaded ones go."""

    data_folder: str
    download_folder: str


class Question(msgspec.Struct):
    """What the process is asked: to override a recipe's settings, and with `places` to check its own data set."""

    recipe: str
    overrides: dict[str, str]
    places: DataPlaces | None


def summarise_recipe(name_or_path: str, location: str, overrides: Mapping[str, Any]) -> RecipeSummary:
    """A recipe as data, overrides applied.

    Raises:
        UnknownRecipe: there is none.
        RecipeFailed: its code raised.
        InvalidSetting: an override is not one of its settings, or of another type or range.
    """
    digest = recipe_digest(name_or_path)
    recipe = load_recipe(name_or_path)
    source = source_named(recipe.dataset)
    settings = resolve_settings(recipe, overrides)
    return RecipeSummary(
        name=recipe.name,
        title=recipe.title,
        location=location or f"recipes/{digest}.py",
        digest=digest,
        dataset=source.name,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        settings=settings,
        overridden=tuple(overrides),
        train_examples=source.train_examples,
        backbone_digest=backbone_digest(name_or_path, settings),
        takes_weights=WEIGHTS in recipe.backbone_settings,
        published_weights=recipe.weights,
    )


def check_data(name_or_path: str, places: DataPlaces) -> None:
    """Make sure that the recipe's data files are there and whole; what is missing is downloaded.

    Raises:
        DataNotFound: a file is nowhere and cannot be downloaded.
        DataCorrupted: a file is cut off or has another digest.
    """
    source = source_named(load_recipe(name_or_path).dataset)
    folder = Path(places.data_folder) if places.data_folder else None
    downloads = Path(places.download_folder)
    missing = missing_bytes(source, folder, downloads)
    if missing:
        sys.stderr.write(f"Downloading {source.name} ({missing / 1e6:.1f} MB) from {source.base_url}\n")
    check_source(source, folder, downloads)


def missing_bytes(source: DataSource, data_folder: Path | None, downloads: Path) -> int:
    """How much has to be downloaded."""
    if data_folder is not None and is_unpacked(source, data_folder / source.name):
        return 0
    folders = [folder / source.name for folder in (data_folder, downloads) if folder is not None]
    return min(
        (sum(file.bytes for file in source.files if not (folder / file.name).is_file()) for folder in folders),
        default=0,
    )


def _answer(question: Question) -> RecipeSummary:
    summary = summarise_recipe(question.recipe, "", question.overrides)
    if question.places is not None:
        check_data(question.recipe, question.places)
    return summary


if __name__ == "__main__":
    own_process.answer(Question, _answer)
