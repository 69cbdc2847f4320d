"""Readers of the workers' libraries: the archive, its frames, its tar, and the notes beside what is unpacked."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zstandard

from libraries.archive import HEAD_BYTES, decompressed
from libraries.load import NOTE, check, read_note
from libraries.sources import FileArchive, pointed, read_manifest
from libraries.unpack import Extractor, unpack
from security import hostile_bytes as hostile
from security.mutations import mutated, mutated_json
from security.target import Target, Work


def _tar_sample() -> bytes:
    names = ("a.py", "b/c.py")
    return b"".join(hostile.tar_header(name, size=b"00000000003\0") + b"abc" + bytes(509) for name in names) + bytes(
        1024
    )


TAR = _tar_sample()


def broken_tar(rng: random.Random, content: bytes) -> bytes:
    """Broken bytes; mostly with the checksums that they should have."""
    data = mutated(rng, content)
    if rng.random() < 0.2:
        return data
    blocks = [data[at : at + 512] for at in range(0, len(data), 512)]
    return b"".join(hostile.with_checksum(b) if len(b) == 512 and b[257:262] == b"ustar" else b for b in blocks)


def _extract(work: Work) -> Callable[[bytes], Any]:
    numbers = iter(range(10**9))

    def read(content: bytes) -> None:
        folder = work.folder / str(next(numbers))
        folder.mkdir()
        extractor = Extractor(folder, "archive", most_bytes=1 << 20)
        try:
            from libraries.unpack import _numbered

            with _numbered(folder, "archive"):
                extractor.feed(content)
            extractor.close()
        finally:
            extractor.abandon()
            empty(folder)

    return read


def empty(folder: Path) -> None:
    """Remove it, without the descriptors that `shutil.rmtree` works with."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    folder.rmdir()


def archive_bytes(tar: bytes, **changes: Any) -> bytes:
    """A libraries archive of one frame, its digests right."""
    packed = zstandard.ZstdCompressor(level=1).compress(tar)
    frame = [len(packed), len(tar), hashlib.sha256(packed).hexdigest()]
    head = hostile.manifest(**({"frames": [frame], "files": 2, "bytes": 6} | changes))
    return struct.pack("<II", 0x184D2A5E, len(head)) + head + packed


ARCHIVE = archive_bytes(TAR)


def _archive(work: Work) -> Callable[[bytes], Any]:
    path, numbers = work.folder / "archive", iter(range(10**9))

    def read(content: bytes) -> None:
        path.write_bytes(content)
        archive = FileArchive(path)
        manifest = read_manifest(archive)
        if not 0 <= manifest.contents.bytes < 1 << 20:  # there is no room for it on some disks, and then that is said
            return
        folder = work.folder / str(next(numbers))
        folder.mkdir()
        try:
            unpack(archive, manifest, folder, threads=1)
        finally:
            empty(folder)

    return read


def broken_archive(rng: random.Random, content: bytes) -> bytes:
    """Broken bytes; a whole archive of a broken tar; or one whose manifest lies."""
    kind = rng.randrange(3)
    if kind == 0:
        return mutated(rng, content)
    if kind == 1:
        return archive_bytes(broken_tar(rng, TAR))
    length = int.from_bytes(content[4:8], "little")
    head = mutated_json(rng, content[HEAD_BYTES : HEAD_BYTES + length])
    return struct.pack("<II", 0x184D2A5E, len(head)) + head + content[HEAD_BYTES + length :]


def _frame(work: Work) -> Callable[[bytes], Any]:
    from libraries.archive import Frame

    def read(content: bytes) -> None:
        decompressed(Frame(len(content), len(TAR), hashlib.sha256(content).hexdigest()), content, "archive")

    return read


def _pointer(_work: Work) -> Callable[[bytes], Any]:
    return lambda content: pointed(lambda: content, "current.json") and None


def _note(work: Work) -> Callable[[bytes], Any]:
    def read(content: bytes) -> None:
        (work.folder / NOTE).write_bytes(content)
        check(read_note(work.folder), "libraries")

    return read


TARGETS = (
    Target("tar of libraries", _extract, (TAR,), broken_tar, 4),
    Target("archive of libraries", _archive, (ARCHIVE,), broken_archive),
    Target("zstd frame", _frame, (zstandard.ZstdCompressor().compress(TAR),), mutated, 4),
    Target("pointer to libraries", _pointer, (b'{"digest": "ab12"}',), mutated_json, 1),
    Target("note of unpacked libraries", _note, (hostile.note(),), mutated_json, 1),
)  # fmt: skip
