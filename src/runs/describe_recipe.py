"""Describes a user's recipe in a process of its own: `python -m runs.describe_recipe PATH`.

The file may import TensorFlow, which must not weigh on the caller, and may print, which must not reach the answer:
that is one JSON object on what was the standard output. The question is one on the standard input.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from contracts.errors import ErrorRecord, LambdafitError
from runs.recipe_summary import RecipeSummary
from training.datasets.fetch import check_source
from training.datasets.source import DataSource, source_named
from training.recipe import load_recipe, recipe_digest
from training.recipe_settings import resolve_settings


class DataPlaces(msgspec.Struct, frozen=True):
    """Where data sets are looked for, and where downloaded ones go."""

    data_folder: str
    download_folder: str


class Question(msgspec.Struct):
    """What the process is asked: to override settings, and to check the recipe's own data set."""

    overrides: dict[str, str]
    places: DataPlaces | None


class Answer(msgspec.Struct, omit_defaults=True):
    """What the process says: exactly one of `summary` and `error`, and for people the error's traceback."""

    summary: RecipeSummary | None = None
    error: ErrorRecord | None = None
    trace: str = ""


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
    return RecipeSummary(
        name=recipe.name,
        title=recipe.title,
        location=location or f"recipes/{digest}.py",
        digest=digest,
        dataset=source.name,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        settings=resolve_settings(recipe, overrides),
        overridden=tuple(overrides),
        train_examples=source.train_examples,
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
    folders = [folder / source.name for folder in (data_folder, downloads) if folder is not None]
    return min(
        (sum(file.bytes for file in source.files if not (folder / file.name).is_file()) for folder in folders),
        default=0,
    )


def main() -> None:
    """Answer and leave at once: nothing that a recipe started may hold the process up."""
    answer_file = os.dup(1)
    os.dup2(2, 1)
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    path = sys.argv[1]
    try:
        answer = Answer(summary=summarise_recipe(path, "", question.overrides))
        if question.places is not None:
            check_data(path, question.places)
    except LambdafitError as error:
        answer = Answer(error=error.record(), trace=traceback.format_exc())
    with open(answer_file, "wb") as stream:  # noqa: PTH123 - a descriptor, not a path
        stream.write(msgspec.json.encode(answer))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
