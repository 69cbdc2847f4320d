"""Data sets in the stack's bucket: prepared on this machine, brought there, listed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from contracts.errors import DataNotFound
from engines.aws_stack.bucket import Bucket, Progress
from engines.aws_stack.prepare_process import Wanted, prepare_apart
from runs.describe_recipe import DataPlaces
from training.datasets.prepare import SPLITS, prepared_folder
from training.datasets.source import DataSource

PREFIX = "datasets/"
BLOCK_BYTES = 1 << 20

Begin = Callable[[str, int], Progress]
"""Told what is about to be uploaded and how many bytes; returns what is told of each of them."""


@dataclass(frozen=True)
class StoredDataset:
    """A data set that runs find by its name."""

    name: str
    folder: str
    facts: Mapping[str, Any]


def pointer_key(name: str) -> str:
    """The object that says which folder a name means."""
    return f"{PREFIX}{name}.json"


def find(bucket: Bucket, name: str) -> StoredDataset:
    """The data set that a name means.

    Raises:
        DataNotFound: nobody has brought it there.
    """
    pointer = bucket.read_json(pointer_key(name))
    folder = str(pointer.get("folder", "")) if pointer else ""
    facts = bucket.read_json(f"{folder}/meta.json") if folder.startswith(PREFIX) else None
    if facts is None:
        raise DataNotFound(
            f"s3://{bucket.name}",
            f"it has no data set {name!r}",
            advice=f"`lambdafit data push {name}` brings it there; `lambdafit data list` shows those that are.",
        )
    return StoredDataset(name, folder, facts)


def stored(bucket: Bucket) -> list[StoredDataset]:
    """All data sets that are there."""
    names = [key.removeprefix(PREFIX) for key in bucket.keys(PREFIX)]
    return [find(bucket, name.removesuffix(".json")) for name in names if "/" not in name and name.endswith(".json")]


def bring(bucket: Bucket, wanted: Wanted, known: DataSource | None, places: DataPlaces, begin: Begin) -> StoredDataset:
    """Have a data set in the bucket: found there, or prepared here and uploaded.

    Args:
        known: the data set itself where it is built in: its folder's name may be known without loading it.
        begin: told before something is uploaded.
    """
    folder = prepared_folder(known) if known is not None else None
    if known is not None and folder is not None:
        facts = bucket.read_json(f"{folder}/meta.json")
        if facts is not None:
            _point(bucket, known.name, folder)
            return StoredDataset(known.name, folder, facts)
    with tempfile.TemporaryDirectory(prefix="lambdafit-") as target:
        facts = prepare_apart(wanted, places, Path(target))
        return upload(bucket, Path(target), facts, begin)


def upload(bucket: Bucket, root: Path, facts: Mapping[str, Any], begin: Begin) -> StoredDataset:
    """Upload a prepared data set. What was uploaded before, by a call that was cut short, is not uploaded again.

    `meta.json` comes last but one and means that all arrays are there; the pointer last of all.
    """
    folder, name = str(facts["folder"]), str(facts["name"])
    meta = f"{folder}/meta.json"
    if bucket.size(meta) is None:
        progress = begin(f"data set {name}", sum(int(facts["files"][split]["bytes"]) for split in SPLITS))
        for split in SPLITS:
            path = root / folder / f"{split}.npy"
            bucket.upload(path, f"{folder}/{split}.npy", file_digest(path), progress)
        bucket.write(meta, (root / meta).read_bytes())
    _point(bucket, name, folder)
    return StoredDataset(name, folder, facts)


def file_digest(path: Path) -> str:
    """xxh3-128 of a whole file, in hexadecimal."""
    hasher = xxhash.xxh3_128()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            hasher.update(block)
    return hasher.hexdigest()


def _point(bucket: Bucket, name: str, folder: str) -> None:
    pointer = bucket.read_json(pointer_key(name))
    if pointer is None or pointer.get("folder") != folder:
        bucket.write(pointer_key(name), json.dumps({"folder": folder}).encode())
