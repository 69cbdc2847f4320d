"""A data set onto the shared files, once for all runs: shuffled, split, as `.npy` that can be read in blocks."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from contracts.errors import DataCorrupted, TornFile
from contracts.ports import SharedFiles
from training.datasets.fetch import check_source
from training.datasets.source import Array, Arrays, DataSource
from training.failures import code_file, recipe_code

PREPARING_VERSION = 1
"""Raise it when the same source comes out as other arrays: prepared folders are found by their digest."""

_SHUFFLE_SEED = 1
VALIDATION_FRACTION = 0.1
SPLITS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test")


def prepare_dataset(
    source: DataSource,
    files: SharedFiles,
    *,
    data_folder: Path | None,
    cache_folder: Path,
    validation_fraction: float = VALIDATION_FRACTION,
) -> dict[str, Any]:
    """Make a data set ready on the shared files, or find it ready.

    The training examples are shuffled by a fixed seed, so that any range of rows is a fair sample; the last of
    them become the validation split. The test examples keep their order. `meta.json` is written last and means
    that all is there; two at once write the same bytes.

    Returns:
        facts, JSON-ready: folder, train_examples, val_examples, test_examples, x_shape, x_dtype, y_shape, y_dtype,
        classes (0 for regression), class_names, bytes, and of each array its file's bytes and digest.
    Raises:
        DataNotFound, DataCorrupted: the source's files are missing or not what was published.
        RecipeFailed: the source's own `load` raised.
    """
    folder_with_files = check_source(source, data_folder, cache_folder)
    # A source without files is known by what it loads; one with files by their digests, and found without loading.
    arrays = None if source.files else _load(source, folder_with_files)
    digest = _digest(source, arrays, validation_fraction)
    folder = f"datasets/{source.name}-{digest}"
    facts = _existing(files, folder)
    if facts is not None:
        return facts
    split = _split(arrays or _load(source, folder_with_files), validation_fraction)
    stored = {name: _write(files, f"{folder}/{name}.npy", array) for name, array in split.items()}
    facts = {
        "name": source.name,
        "folder": folder,
        "train_examples": len(split["x_train"]),
        "val_examples": len(split["x_val"]),
        "test_examples": len(split["x_test"]),
        "x_shape": list(split["x_train"].shape[1:]),
        "x_dtype": str(split["x_train"].dtype),
        "y_shape": list(split["y_train"].shape[1:]),
        "y_dtype": str(split["y_train"].dtype),
        "classes": _classes(source, split),
        "class_names": list(source.class_names),
        "bytes": sum(file["bytes"] for file in stored.values()),
        "files": stored,
    }
    files.write(f"{folder}/meta.json", [json.dumps(facts, indent=1).encode()], durable=True)
    return facts


def prepared_folder(source: DataSource) -> str | None:
    """Where `prepare_dataset` puts a data set; None where only loading it tells."""
    return f"datasets/{source.name}-{_digest(source, None, VALIDATION_FRACTION)}" if source.files else None


def _load(source: DataSource, folder: Path) -> Arrays:
    """The source's arrays, checked.

    Raises:
        RecipeFailed: `load` raised.
        DataCorrupted: the arrays do not fit each other, or hold what cannot be trained on.
    """
    with recipe_code(code_file(source.load), f"loading the data set {source.name}"):
        arrays = source.load(folder)
        given = {name: np.asarray(getattr(arrays, name)) for name in ("x_train", "y_train", "x_test", "y_test")}
    for part in ("train", "test"):
        x, y = given[f"x_{part}"], given[f"y_{part}"]
        if x.ndim < 2 or y.ndim < 1 or len(x) != len(y) or not len(x):
            received = f"x_{part} is {x.shape} and y_{part} is {y.shape}"
            raise DataCorrupted(f"data set {source.name}", received, "as many labels as examples, at least one")
    for name, array in given.items():
        if array.dtype.kind not in "fiub":
            raise DataCorrupted(f"data set {source.name}", f"{name} is of type {array.dtype}", "numbers")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataCorrupted(f"data set {source.name}", f"{name} holds NaN or infinity", "finite values")
    _check_labels(source, given)
    return Arrays(**given)


def _check_labels(source: DataSource, given: dict[str, Array]) -> None:
    names = len(source.class_names)
    for name in ("y_train", "y_test"):
        labels = given[name]
        if names and labels.ndim == 1 and labels.dtype.kind in "iu" and not 0 <= labels.min() <= labels.max() < names:
            received = f"{name} holds labels from {labels.min()} to {labels.max()}"
            raise DataCorrupted(f"data set {source.name}", received, f"0 to {names - 1}")


def _digest(source: DataSource, arrays: Arrays | None, validation_fraction: float) -> str:
    """What the prepared arrays depend on: the files, or the arrays themselves; the loading code; the split."""
    hasher = xxhash.xxh3_128()
    identity = [PREPARING_VERSION, _SHUFFLE_SEED, validation_fraction, [file.sha256 for file in source.files]]
    hasher.update(json.dumps([*identity, source.class_names]).encode())
    code = Path(code_file(source.load))
    hasher.update(code.read_bytes() if code.is_file() else b"")
    if arrays is not None:
        for array in (arrays.x_train, arrays.y_train, arrays.x_test, arrays.y_test):
            hasher.update(f"{array.shape}{array.dtype.str}".encode())
            hasher.update(np.ascontiguousarray(array).data)
    return hasher.hexdigest()


def _split(arrays: Arrays, validation_fraction: float) -> dict[str, Array]:
    examples = len(arrays.x_train)
    order = np.random.Generator(np.random.Philox(key=_SHUFFLE_SEED)).permutation(examples)  # (examples,)
    cut = examples - min(round(examples * validation_fraction), examples - 1)
    train, validation = order[:cut], order[cut:]
    return {
        "x_train": arrays.x_train[train],
        "y_train": arrays.y_train[train],
        "x_val": arrays.x_train[validation],
        "y_val": arrays.y_train[validation],
        "x_test": arrays.x_test,
        "y_test": arrays.y_test,
    }


def _classes(source: DataSource, split: dict[str, Array]) -> int:
    """How many classes the labels name; 0 where they are not labels."""
    labels = split["y_train"]
    if labels.dtype.kind not in "iub":
        return len(source.class_names)
    if labels.ndim == 2:
        return int(labels.shape[1])
    return max(len(source.class_names), int(labels.max()) + 1)


def _write(files: SharedFiles, path: str, array: Array) -> dict[str, Any]:
    """One array as `.npy`. The digest is of the values, behind the header."""
    values = np.ascontiguousarray(array)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(values))
    data = values.reshape(-1).view(np.uint8)
    written = files.write(path, [header.getvalue(), data.data], durable=True)
    return {"bytes": written, "digest": xxhash.xxh3_128_hexdigest(data.data)}


def _existing(files: SharedFiles, folder: str) -> dict[str, Any] | None:
    """The facts of a complete folder; None where something is missing, short or unreadable."""
    if not files.exists(f"{folder}/meta.json"):
        return None
    try:
        facts: dict[str, Any] = json.loads(files.read(f"{folder}/meta.json"))
        for name in SPLITS:
            files.read_into(f"{folder}/{name}.npy", facts["files"][name]["bytes"] - 1, bytearray(1))
    except (TornFile, ValueError, KeyError, TypeError):
        return None
    return facts
