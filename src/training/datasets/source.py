"""A data set: where it comes from, what it must hash to, and how it becomes arrays."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from contracts.errors import DataNotFound

Array = npt.NDArray[Any]

_BUILTIN = {
    "digits": "training.datasets.digits",
    "fashion-mnist": "training.datasets.fashion_mnist",
    "cifar-10": "training.datasets.cifar_10",
}
"""Name → module that defines `source`."""


@dataclass(frozen=True)
class Arrays:
    """Examples and labels. `x_*` of shape (examples, *input), `y_*` of shape (examples,) or (examples, targets)."""

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array


@dataclass(frozen=True)
class DataFile:
    """One file of a data set as published."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """A data set as a recipe names it.

    Args:
        name: the folder's name under the user's data folder, and part of the prepared folder's name.
        load: folder with the files → arrays. A source without files is given an empty folder.
        files: as published, each with its digest; none where `load` makes the data by itself.
        unpacked: paths under the user's folder that may stand there in place of `files`; `load` checks what they hold.
        base_url: files are fetched from here where they are not found; it ends in a slash.
        license: the terms that the data are under.
        input_shape: one example's shape.
        max_level: of a picture's pixels, what white is in `x`; 1 where they are fractions.
        class_names: by label; empty for regression.
    """

    name: str
    load: Callable[[Path], Arrays]
    files: tuple[DataFile, ...] = ()
    unpacked: tuple[str, ...] = ()
    base_url: str = ""
    license: str = ""
    train_examples: int | None = None
    test_examples: int | None = None
    input_shape: tuple[int, ...] | None = None
    max_level: float = 255
    class_names: tuple[str, ...] = ()


def builtin_sources() -> tuple[str, ...]:
    """The names of the built-in data sets."""
    return tuple(_BUILTIN)


def source_named(dataset: str | DataSource) -> DataSource:
    """The data set that a recipe names.

    Raises:
        DataNotFound: there is no built-in data set of that name.
    """
    if isinstance(dataset, DataSource):
        return dataset
    if dataset not in _BUILTIN:
        raise DataNotFound("data set", repr(dataset), "one of " + ", ".join(_BUILTIN))
    source: DataSource = importlib.import_module(_BUILTIN[dataset]).source
    return source
