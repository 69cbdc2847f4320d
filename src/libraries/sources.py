"""Where an archive is read from: a file, or an object in a bucket; and the pointer that names the current one."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from contracts.ports import Objects
from contracts.stack_errors import ArchiveCorrupted, ArchiveNotFound, ObjectNotFound, ObjectsForbidden
from libraries.archive import HEAD_BYTES, SUFFIX, Manifest, manifest_bytes, parse_manifest

FOLDER = "libraries"
POINTER = f"{FOLDER}/current.json"
"""In the bucket and on the shared files: `{"digest": …, "key": …, "bytes": …}`, written last."""

DIGEST = re.compile(r"[0-9a-z]{1,64}")
NOT_TO_BE_HAD = (ObjectNotFound, ObjectsForbidden)
"""S3 tells only those who may list the bucket that something is not there, and the functions may not."""

FIRST_BYTES = 64 << 10
"""Read first: the manifest is shorter."""


class Archive(Protocol):
    """Reads stretches of an archive; many threads may do so side by side."""

    where: str

    def read(self, offset: int, size: int) -> bytearray:
        """`size` bytes from `offset` on; fewer at the archive's end."""


class FileArchive:
    """Implements `Archive`: a file.

    Raises:
        ArchiveNotFound: there is none.
    """

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        if not path.is_file():
            raise ArchiveNotFound(self.where, "there is no such file", advice="`python -m libraries.build` makes one.")
        self._path = path

    def read(self, offset: int, size: int) -> bytearray:
        """See `Archive.read`."""
        buffer = bytearray(size)
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            done = 0
            while done < size and (count := os.preadv(descriptor, [memoryview(buffer)[done:]], offset + done)):
                done += count
        finally:
            os.close(descriptor)
        del buffer[done:]
        return buffer


class ObjectArchive:
    """Implements `Archive`: an object in a bucket.

    Raises:
        ArchiveNotFound: there is none.
    """

    def __init__(self, objects: Objects, key: str) -> None:
        self.where = f"bucket, {key}"
        self._objects = objects
        try:
            self._facts = objects.head(key)
        except NOT_TO_BE_HAD as error:
            raise ArchiveNotFound(self.where, "there is no such object") from error

    def read(self, offset: int, size: int) -> bytearray:
        """See `Archive.read`."""
        buffer = bytearray(max(0, min(size, self._facts.bytes - offset)))
        self._objects.read_into(self._facts, offset, buffer)
        return buffer


def read_manifest(archive: Archive) -> Manifest:
    """What is in an archive.

    Raises:
        ArchiveCorrupted: its first bytes are not those of an archive.
    """
    first = archive.read(0, FIRST_BYTES)
    size = manifest_bytes(bytes(first[:HEAD_BYTES]), archive.where)
    while len(first) < HEAD_BYTES + size:
        more = archive.read(len(first), HEAD_BYTES + size - len(first))
        if not more:
            raise ArchiveCorrupted(archive.where, f"it ends at byte {len(first)}, within its manifest")
        first += more
    return parse_manifest(bytes(first[HEAD_BYTES : HEAD_BYTES + size]), archive.where)


def archive_key(digest: str) -> str:
    """An archive's key in the bucket."""
    return f"{FOLDER}/{digest}{SUFFIX}"


def pointed(read: Callable[[], bytes], where: str) -> str:
    """The digest that a pointer names.

    Raises:
        ArchiveNotFound: there is no pointer.
        ArchiveCorrupted: it is not one.
    """
    try:
        digest = json.loads(read())["digest"]
    except (FileNotFoundError, *NOT_TO_BE_HAD) as error:
        raise ArchiveNotFound(where, "it is not there: no libraries were uploaded or installed") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArchiveCorrupted(where, f"it cannot be read ({type(error).__name__})", '{"digest": …}') from error
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise ArchiveCorrupted(where, f"it names {str(digest)[:80]!r}", "a digest")
    return digest
