"""Reads a prepared data set from the shared files, every byte checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xxhash

from contracts.errors import DataCorrupted, TornFile
from contracts.ports import SharedFiles
from training.datasets.npy_reading import parse_header
from training.datasets.source import Array

_PREFIX_BYTES = 10
"""Magic, version and header length of a `.npy` file of format 1.0 (numpy.lib.format)."""


def load_prepared(
    files: SharedFiles, facts: Mapping[str, Any], splits: Sequence[str] = ("x_train", "y_train")
) -> dict[str, Array]:
    """Arrays of a data set by name.

    Args:
        facts: what `prepare_dataset` returned; the run holds them, digests included.
        splits: some of x_train, y_train, x_val, y_val, x_test, y_test.
    Raises:
        DataCorrupted: a file is missing, cut off, or does not hold what was prepared.
    """
    folder, stored = facts["folder"], facts["files"]
    return {
        name: read_array(files, f"{folder}/{name}.npy", stored[name]["bytes"], stored[name]["digest"])
        for name in splits
    }


def read_array(files: SharedFiles, path: str, size_bytes: int, digest: str) -> Array:
    """One array, read straight into its own memory.

    Args:
        size_bytes: of the file; `digest` is xxh3-128 of the values behind its header.
    Raises:
        DataCorrupted: see `load_prepared`.
    """
    try:
        prefix = bytearray(_PREFIX_BYTES)
        files.read_into(path, 0, prefix)
        header = bytearray(_PREFIX_BYTES + int.from_bytes(prefix[8:10], "little"))
        files.read_into(path, 0, header)
        found = parse_header(header)
        if prefix[6:8] != b"\1\0" or len(header) + found.data_bytes != size_bytes:
            raise ValueError(f"its header tells of {found.data_bytes} bytes of values")
        array = np.empty(found.shape, dtype=found.dtype)
        data = array.reshape(-1).view(np.uint8).data
        files.read_into(path, len(header), data)
    except (TornFile, ValueError) as error:
        raise _corrupted(path, str(error).split("\n")[0]) from None
    if xxhash.xxh3_128_hexdigest(data) != digest:
        raise _corrupted(path, "its bytes changed since it was prepared")
    return array


def _corrupted(path: str, received: str) -> DataCorrupted:
    folder = path.rsplit("/", 1)[0]
    return DataCorrupted(path, received, advice=f"Remove the folder {folder} of the shared files and start again.")
