"""Prepares a data set in a process of its own: `python -m engines.aws_stack.prepare_process`.

A recipe's own code loads the data, or scikit-learn does: neither is to weigh on the command line.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from contracts.errors import DataCorrupted
from runs.describe_recipe import DataPlaces, missing_bytes
from runs.own_process import answer, ask
from stores.shared_files import FolderFiles
from training.datasets.folder import folder_source
from training.datasets.prepare import prepare_dataset
from training.datasets.source import DataSource, source_named
from training.recipe import load_recipe


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which data set: exactly one of a recipe's own, a built-in one, or a folder of arrays with its name."""

    recipe: str = ""
    dataset: str = ""
    folder: str = ""
    name: str = ""

    def source(self) -> DataSource:
        """The data set itself; runs a recipe's code."""
        if self.folder:
            return folder_source(Path(self.folder), self.name)
        return source_named(load_recipe(self.recipe).dataset if self.recipe else self.dataset)


class _Question(msgspec.Struct):
    wanted: Wanted
    places: DataPlaces
    target: str


def prepare_apart(wanted: Wanted, places: DataPlaces, target: Path) -> dict[str, Any]:
    """Prepare a data set into a local folder, as the functions would on the shared files.

    Returns:
        its facts, as `training.datasets.prepare.prepare_dataset` gives them.
    Raises:
        DataNotFound, DataCorrupted: its files are missing or not what they should be.
        RecipeFailed: a recipe's own code raised.
    """
    what = f"data set {wanted.name or wanted.dataset or wanted.recipe}"
    return ask(
        "engines.aws_stack.prepare_process",
        _Question(wanted, places, str(target)),
        dict[str, Any],
        lambda how: DataCorrupted(what, f"{how} before the data were ready"),
        shows_progress=True,
    )


def prepare_here(wanted: Wanted, places: DataPlaces, target: Path) -> dict[str, Any]:
    """The same in this process, which then has run the recipe's own code."""
    source = wanted.source()
    data_folder = Path(places.data_folder) if places.data_folder else None
    downloads = Path(places.download_folder)
    missing = missing_bytes(source, data_folder, downloads)
    if missing:
        sys.stderr.write(f"Downloading {source.name} ({missing / 1e6:.1f} MB) from {source.base_url}\n")
    return prepare_dataset(source, FolderFiles(target), data_folder=data_folder, cache_folder=downloads)


if __name__ == "__main__":
    answer(_Question, lambda asked: prepare_here(asked.wanted, asked.places, Path(asked.target)))
