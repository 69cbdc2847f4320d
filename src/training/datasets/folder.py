"""A user's folder of `.npy` files, or one `.npz` file, as a data set. Nothing in it is ever unpickled."""

from __future__ import annotations

import re
import zipfile
from functools import partial
from pathlib import Path

import numpy as np

from contracts.errors import DataCorrupted, DataNotFound, InvalidSetting
from training.datasets.source import Array, Arrays, DataSource, builtin_sources

NAMES = ("x_train", "y_train", "x_test", "y_test")
CLASS_NAMES = "class_names.txt"
DATASET_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def check_name(name: str) -> str:
    """`name` if a data set of one's own may be called so.

    Raises:
        InvalidSetting: it may not, or a built-in one is.
    """
    if not DATASET_NAME.fullmatch(name):
        raise InvalidSetting("--name", repr(name), "lower-case letters, digits and hyphens, such as my-leaves")
    if name in builtin_sources():
        raise InvalidSetting("--name", f"{name!r} is a built-in data set", "another name")
    return name


def folder_source(path: Path, name: str) -> DataSource:
    """What lies in a folder, or in a `.npz` file, as a data set.

    A folder holds x_train.npy, y_train.npy, x_test.npy and y_test.npy, or one `.npz` with these four arrays; beside
    them, if wanted, class_names.txt with one name a line, in the order of the labels.

    Raises:
        DataNotFound: there is no such folder, or it does not hold the four arrays.
        InvalidSetting: the name will not do.
    """
    check_name(name)
    if path.is_dir():
        archives = sorted(path.glob("*.npz"))
        missing = [f"{one}.npy" for one in NAMES if not (path / f"{one}.npy").is_file()]
        if missing and len(archives) != 1:
            raise DataNotFound(
                f"data set {path}", f"it has no {', '.join(missing)}", "these, or one .npz with the four"
            )
        files = archives if missing else []
        names = path / CLASS_NAMES
    elif path.suffix == ".npz" and path.is_file():
        files, names = [path], path.with_name(CLASS_NAMES)
    else:
        raise DataNotFound(f"data set {path}", "there is no such folder or .npz file")
    load = partial(_load_archive, files[0]) if files else partial(_load_folder, path)
    return DataSource(name=name, load=load, class_names=_lines(names), license="the user's own")


def _load_folder(path: Path, _unused: Path) -> Arrays:
    return Arrays(**{name: _read(path / f"{name}.npy", name) for name in NAMES})


def _load_archive(path: Path, _unused: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in NAMES if name not in archive.files]
            if missing:
                raise DataNotFound(f"data set {path}", f"it has no {', '.join(missing)}", ", ".join(NAMES))
            return Arrays(**{name: archive[name] for name in NAMES})
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from None


def _read(path: Path, name: str) -> Array:
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise _unreadable(path, error) from None
    if not isinstance(found, np.ndarray):
        raise DataCorrupted(str(path), "it is an archive", f"the array {name}")
    return found


def _unreadable(path: Path, error: Exception) -> DataCorrupted:
    text = str(error).split("\n")[0].rstrip(".")
    return DataCorrupted(str(path), f"it cannot be read ({text})", "arrays of numbers, written by numpy.save or savez")


def _lines(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
