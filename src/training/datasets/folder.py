"""A user's folder of `.npy` files, or one `.npz` file, as a data set. Nothing in it is ever unpickled."""

from __future__ import annotations

import re
import zipfile
from functools import partial
from pathlib import Path

from contracts.errors import DataCorrupted, DataNotFound, InvalidSetting
from training.datasets.npy_reading import BROKEN_ZIP, checked_member, read_array
from training.datasets.source import Array, Arrays, DataSource, builtin_sources

NAMES = ("x_train", "y_train", "x_test", "y_test")
CLASS_NAMES = "class_names.txt"
MAX_NAMES_BYTES = 1 << 20
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
    return Arrays(**{name: _read(path / f"{name}.npy") for name in NAMES})


def _load_archive(path: Path, _unused: Path) -> Arrays:
    try:
        with zipfile.ZipFile(path) as archive:
            there = set(archive.namelist())
            missing = [name for name in NAMES if f"{name}.npy" not in there]
            if missing:
                raise DataNotFound(f"data set {path}", f"it has no {', '.join(missing)}", ", ".join(NAMES))
            return Arrays(**{name: _member(archive, f"{name}.npy") for name in NAMES})
    except BROKEN_ZIP as error:
        raise _unreadable(path, error) from None


def _member(archive: zipfile.ZipFile, name: str) -> Array:
    info = checked_member(archive, name)
    with archive.open(info) as stream:
        return read_array(stream, info.file_size)


def _read(path: Path) -> Array:
    try:
        with path.open("rb") as stream:
            return read_array(stream, path.stat().st_size)
    except (ValueError, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> DataCorrupted:
    text = str(error).split("\n")[0].rstrip(".")
    return DataCorrupted(str(path), f"it cannot be read ({text})", "arrays of numbers, written by numpy.save or savez")


def _lines(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_NAMES_BYTES + 1)
        lines = [line.strip() for line in content.decode().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataCorrupted(str(path), f"it cannot be read ({type(error).__name__})", "lines of UTF-8 text") from None
    if len(content) > MAX_NAMES_BYTES or not all(line.isprintable() for line in lines):
        raise DataCorrupted(str(path), "it is too long, or holds control characters", "one name a line")
    return tuple(lines)
