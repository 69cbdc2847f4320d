"""Reads a prepared data set from the shared files, every byte checked."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xxhash

from contracts.errors import DataCorrupted, TornFile
from contracts.ports import SharedFiles
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
    return {name: _read(files, f"{facts['folder']}/{name}.npy", facts["files"][name]["digest"]) for name in splits}


def _read(files: SharedFiles, path: str, digest: str) -> Array:
    """One array, read straight into its own memory."""
    try:
        prefix = bytearray(_PREFIX_BYTES)
        files.read_into(path, 0, prefix)
        header = bytearray(_PREFIX_BYTES + int.from_bytes(prefix[8:10], "little"))
        files.read_into(path, 0, header)
        stream = io.BytesIO(header)
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("not of format 1.0")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        array = np.empty(shape, dtype=dtype)
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
