"""A run's data set onto the shared files: which source its recipe names, and where that is looked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contracts.ports import SharedFiles
from contracts.records import Run
from training.datasets.prepare import prepare_dataset
from training.datasets.source import source_named
from training.recipe import load_recipe


def prepare_data(run: Run, files: SharedFiles, data_folder: Path | None, download_folder: Path) -> dict[str, Any]:
    """Make the run's data set ready. Facts as `training.datasets.prepare.prepare_dataset` returns them.

    Raises:
        DataNotFound, DataCorrupted: its files are missing or not what was published.
        RecipeFailed: a user's own recipe or data set raised.
    """
    location = run.settings.recipe
    if location.endswith(".py"):
        location = files.local_path(location)
    source = source_named(load_recipe(location).dataset)
    return prepare_dataset(source, files, data_folder=data_folder, cache_folder=download_folder)
