"""Outputs of a frozen backbone on the shared files: computed in blocks by many, then joined, once for all runs.

    features/<data set>-<digest>/blocks/x_train-00000000-00000128.<digest>.safetensors   one block, when computed
    features/<data set>-<digest>/x_train.<digest>.npy  x_val.…  x_test.…            joined
    features/<data set>-<digest>/meta.json                                          written last: all is there

The folder's digest is that of the data and of the backbone with its weights and preprocessing. Every other name carries
the digest of the values, so whoever computes the same writes the same file, and whoever computes other bits (another
processor) disturbs nobody: a file is read only under the digest that somebody reported. NumPy only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import xxhash
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from contracts.errors import HomeNotWritable, TornFile
from contracts.identifiers import check_relative_path
from contracts.ports import SharedFiles
from training.datasets.prepared import read_array
from training.vector_files import Vector, npy_header

FEATURES_DTYPE = "float16"
FEATURE_BYTES = 2
MAX_FEATURES = 32_768
"""Of one example: more would be no summary of a picture. VGG19's last convolutions at 224 pixels have 25,088."""

BLOCK_ROWS = 128
"""Examples in a block: one batch of the backbone. A crash or a time limit loses at most one block, which is about a
minute of VGG19 at 224 pixels."""

MAX_BLOCKS = 2_048
"""Of a data set, so that what is said about them fits into reports."""

SPLITS = ("train", "val", "test")

FOLDER = "features"
"""Where all of them lie on the shared files."""


class Block(NamedTuple):
    """Rows low … high-1 of one split: `train`, `val` or `test`."""

    split: str
    low: int
    high: int

    def __str__(self) -> str:
        return f"x_{self.split}-{self.low:08d}-{self.high:08d}"


def backbone_folder(facts: Mapping[str, Any], backbone_digest: str) -> str:
    """Where the features of a prepared data set under a backbone lie."""
    digest = xxhash.xxh3_128_hexdigest(f"{facts['folder']} {backbone_digest}".encode())
    return check_relative_path(f"{FOLDER}/{facts['name']}-{digest}")


def is_folder_name(name: str) -> bool:
    """Whether what lies in FOLDER under this name is one of its folders, and nothing that somebody put there."""
    return re.search(r"-[0-9a-f]{32}$", name) is not None


def plan_blocks(facts: Mapping[str, Any]) -> list[Block]:
    """All rows of a data set, cut into blocks: the same whoever asks.

    Args:
        facts: as `prepare_dataset` returns them.
    """
    rows = {split: int(facts[f"{split}_examples"]) for split in SPLITS}
    size = max(BLOCK_ROWS, math.ceil(sum(rows.values()) / (MAX_BLOCKS - len(SPLITS))))
    return [Block(split, low, min(low + size, count)) for split, count in rows.items() for low in range(0, count, size)]


def part_of(blocks: Sequence[Block], workers: int, worker_index: int) -> Sequence[Block]:
    """The blocks that fall to one of several workers: a stretch of them."""
    return blocks[worker_index * len(blocks) // workers : (worker_index + 1) * len(blocks) // workers]


def write_block(files: SharedFiles, folder: str, block: Block, features: Vector) -> str:
    """Store a block's features, shape (rows, width) of float16. Returns its digest."""
    content = save_safetensors({"features": np.asarray(features, order="C")})
    digest = xxhash.xxh3_128_hexdigest(content)
    files.write(_block_path(folder, block, digest), [content], durable=True)
    return digest


def read_block(files: SharedFiles, folder: str, block: Block, digest: str) -> Vector:
    """A block's features, shape (rows, width), checked.

    Raises:
        TornFile: it is missing, or holds other bytes than its name says.
    """
    path = _block_path(folder, block, digest)
    content = files.read(path)
    found = xxhash.xxh3_128_hexdigest(content)
    if found != digest:
        raise TornFile(path, f"it hashes to {found}", f"{digest} as in its name")
    features: Vector = load_safetensors(content)["features"]
    return features


def blocks_present(files: SharedFiles, folder: str) -> dict[str, str]:
    """Block → digest of what an execution that ended early, or another run, has left there: not read yet."""
    parts = [name.split(".") for name in files.names(f"{folder}/blocks") if not name.startswith(".")]
    return {part[0]: part[1] for part in parts if len(part) == 3}


def join_blocks(files: SharedFiles, folder: str, stored: Sequence[tuple[Block, str]]) -> dict[str, Any]:
    """One array a split out of all blocks, each named with its digest. At most one block is in memory.

    Returns:
        facts, JSON-ready: folder, width, and of each array its file's path, bytes and digest.
    Raises:
        TornFile: a block is missing or holds other bytes than were reported.
    """
    width = read_block(files, folder, *stored[0]).shape[1]
    arrays = {}
    for split in SPLITS:
        blocks = [one for one in stored if one[0].split == split]
        rows = sum(block.high - block.low for block, _ in blocks)
        hasher = xxhash.xxh3_128()
        for one in blocks:  # twice, as the digest stands in the name
            hasher.update(read_block(files, folder, *one))
        path = f"{folder}/x_{split}.{hasher.hexdigest()}.npy"
        header = npy_header(FEATURES_DTYPE, rows, width)
        values = (read_block(files, folder, *one).reshape(-1).view(np.uint8) for one in blocks)
        written = files.write(path, chain([header], values), durable=True)
        arrays[f"x_{split}"] = {"path": path, "bytes": written, "digest": hasher.hexdigest()}
    facts = {"folder": folder, "width": width, "files": arrays}
    files.write(f"{folder}/meta.json", [json.dumps(facts, indent=1).encode()], durable=True)
    remove_blocks(files, folder)
    return facts


def remove_blocks(files: SharedFiles, folder: str) -> None:
    """Once all are joined. Another run may be writing one: what stays then goes with the next run that ends."""
    with suppress(HomeNotWritable):
        files.remove(f"{folder}/blocks")


def remove_temporary_files(files: SharedFiles, folder: str) -> None:
    """What executions that were killed were writing. Whoever still writes looks as after `remove_blocks`."""
    for name in files.names(folder):
        if name.startswith("."):
            files.remove(f"{folder}/{name}")


def joined_features(files: SharedFiles, folder: str) -> dict[str, Any] | None:
    """The facts of a complete folder, as `join_blocks` returned them; None where something is missing or short."""
    if not files.exists(f"{folder}/meta.json"):
        return None
    try:
        facts: dict[str, Any] = json.loads(files.read(f"{folder}/meta.json"))
        for split in SPLITS:
            stored = facts["files"][f"x_{split}"]
            if stored["path"] != f"{folder}/x_{split}.{stored['digest']}.npy":
                return None
            files.read_into(stored["path"], stored["bytes"] - 1, bytearray(1))
        return facts if facts["folder"] == folder and isinstance(facts["width"], int) else None
    except (TornFile, ValueError, KeyError, TypeError):
        return None


def load_features(files: SharedFiles, facts: Mapping[str, Any], name: str) -> Vector:
    """One of x_train, x_val and x_test, shape (rows, width) of float16.

    Raises:
        DataCorrupted: the file is missing, cut off, or does not hold what was computed.
    """
    stored = facts["files"][name]
    return read_array(files, stored["path"], stored["bytes"], stored["digest"])


def _block_path(folder: str, block: Block, digest: str) -> str:
    return check_relative_path(f"{folder}/blocks/{block}.{digest}.safetensors")
