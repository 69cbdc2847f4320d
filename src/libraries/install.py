"""Unpacks the archive in the bucket onto the shared files, for functions that import from there."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contracts.ports import Objects
from contracts.stack_errors import ArchiveCorrupted
from libraries.folders import PART
from libraries.load import NOTE, check, read_note, write_note
from libraries.sources import FOLDER, POINTER, ObjectArchive, archive_key, pointed, read_manifest
from libraries.unpack import unpack

LOCK = ".install.lock"
IN_USE_S = 86_400.0
"""Libraries that a worker loaded within this time are not removed: its environment may live on and import more."""


@dataclass(frozen=True)
class Installed:
    """What is on the shared files now.

    Args:
        unpacked: whether this call unpacked it.
        removed: digests of older libraries that were removed.
    """

    digest: str
    files: int
    bytes: int
    seconds: float
    unpacked: bool
    removed: tuple[str, ...]


def install(
    objects: Objects,
    shared: Path,
    *,
    wanted: str = "",
    remove_others: bool = False,
    now: Callable[[], float] = time.time,
) -> Installed:
    """Bring the current libraries onto the shared files. Again does nothing; after a time-out it goes on.

    Args:
        wanted: the digest of the archive; empty: whichever the bucket names.
        remove_others: remove older libraries that no worker has loaded for a day.
    Raises:
        ArchiveNotFound, ArchiveCorrupted, ArchiveUnsuitable, LibrariesOutdated, NoRoomForLibraries: see `load.ensure`.
    """
    began = now()
    root = shared / FOLDER
    root.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        digest = wanted or pointed(lambda: objects.read(POINTER), f"bucket, {POINTER}")
        folder, part = root / digest, root / f"{digest}{PART}"
        unpacked = not folder.is_dir()
        if unpacked:
            archive = ObjectArchive(objects, archive_key(digest))
            manifest = read_manifest(archive)
            if manifest.digest != digest:
                raise ArchiveCorrupted(archive.where, f"its digest is {manifest.digest}", digest)
            check(manifest.contents, archive.where)
            part.mkdir(exist_ok=True)
            unpack(archive, manifest, part, again=True)
            write_note(part, manifest.contents)
            part.rename(folder)
        contents = read_note(folder)
        check(contents, str(folder))
        _point_to(root, digest)
        removed = _remove_unused(root, digest, now()) if remove_others else ()
    finally:
        os.close(descriptor)
    return Installed(digest, contents.files, contents.bytes, now() - began, unpacked, removed)


def _point_to(root: Path, digest: str) -> None:
    """Name the current libraries, in one step."""
    pointer = root / Path(POINTER).name
    temporary = pointer.with_name(f".{pointer.name}{PART}")
    temporary.write_text(json.dumps({"digest": digest}))
    temporary.replace(pointer)


def _remove_unused(root: Path, digest: str, now_s: float) -> tuple[str, ...]:
    removed = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and path.name != digest):
        note = folder / NOTE
        if note.exists() and now_s - note.stat().st_mtime < IN_USE_S:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        removed.append(folder.name.removesuffix(PART))
    return tuple(removed)
