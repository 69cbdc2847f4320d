"""Prepares a data set in a process of its own: `python -m engines.aws_stack.prepare_process`.

A recipe's own code loads the data, or scikit-learn does: neither is to weigh on the command line. The question is one
JSON object on the standard input, the answer one on what was the standard output.
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import msgspec

from contracts.errors import DataCorrupted, ErrorRecord, LambdafitError, error_from_record
from runs.describe_recipe import DataPlaces, missing_bytes
from runs.recipes import SOURCE_FOLDER
from stores.shared_files import FolderFiles
from training.datasets.folder import folder_source
from training.datasets.prepare import prepare_dataset
from training.datasets.source import DataSource, source_named
from training.recipe import load_recipe

LONGEST_OUTPUT = 2_000


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


class _Answer(msgspec.Struct, omit_defaults=True):
    facts: dict[str, Any] | None = None
    error: ErrorRecord | None = None
    trace: str = ""


def prepare_apart(wanted: Wanted, places: DataPlaces, target: Path) -> dict[str, Any]:
    """Prepare a data set into a local folder, as the functions would on the shared files.

    Returns:
        its facts, as `training.datasets.prepare.prepare_dataset` gives them.
    Raises:
        DataNotFound, DataCorrupted: its files are missing or not what they should be.
        RecipeFailed: a recipe's own code raised.
    """
    path = os.pathsep.join(part for part in (str(SOURCE_FOLDER), os.environ.get("PYTHONPATH", "")) if part)
    process = subprocess.run(
        [sys.executable, "-P", "-m", "engines.aws_stack.prepare_process"],
        input=msgspec.json.encode(_Question(wanted, places, str(target))),
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )
    try:
        answer = msgspec.json.decode(process.stdout, type=_Answer)
    except msgspec.MsgspecError:
        received = f"its process ended with exit code {process.returncode} before the data were ready"
        raise DataCorrupted(f"data set {wanted.name or wanted.dataset or wanted.recipe}", received) from None
    if answer.error is not None:
        failed = error_from_record(answer.error)
        failed.add_note(answer.trace[-LONGEST_OUTPUT:])
        raise failed
    assert answer.facts is not None  # noqa: S101 - one of the two is set
    return answer.facts


def main() -> None:
    """Answer and leave at once: nothing that a recipe started may hold the process up."""
    answer_file = os.dup(1)
    os.dup2(2, 1)
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=_Question)
    try:
        answer = _Answer(facts=_prepare(question))
    except LambdafitError as error:
        answer = _Answer(error=error.record(), trace=traceback.format_exc())
    with open(answer_file, "wb") as stream:  # noqa: PTH123 - a descriptor, not a path
        stream.write(msgspec.json.encode(answer))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _prepare(question: _Question) -> dict[str, Any]:
    source = question.wanted.source()
    data_folder = Path(question.places.data_folder) if question.places.data_folder else None
    downloads = Path(question.places.download_folder)
    missing = missing_bytes(source, data_folder, downloads)
    if missing:
        sys.stderr.write(f"Downloading {source.name} ({missing / 1e6:.1f} MB) from {source.base_url}\n")
    files = FolderFiles(Path(question.target))
    return prepare_dataset(source, files, data_folder=data_folder, cache_folder=downloads)


if __name__ == "__main__":
    main()
