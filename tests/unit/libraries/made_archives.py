"""Small archives of made-up packages, in the real format."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import zstandard

from libraries.archive import SUFFIX, Manifest, pack
from libraries.load import NOTE
from libraries.lock import lock_digest, this_architecture, this_python

FILES = {
    "made_up/__init__.py": b"answer = 42\n",
    "made_up/deep/down/data.bin": bytes(range(256)) * 20_000,  # over several frames
    "made_up/empty.txt": b"",
    "made_up-1.0.dist-info/METADATA": b"Name: made-up\nVersion: 1.0\n",
}


@dataclass(frozen=True)
class Made:
    """An archive, and what is in it."""

    path: Path
    manifest: Manifest
    files: Mapping[str, bytes]


def about(**changes: Any) -> dict[str, Any]:
    """The contents' fields for this machine and this code."""
    here = {"architecture": this_architecture(), "python": this_python(), "lock": lock_digest()}
    return here | {"packages": {"made-up": "1.0"}} | changes


class Maker:
    """Makes archives below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def __call__(self, files: Mapping[str, bytes] = FILES, *, threads: int = 2, **changes: Any) -> Made:
        self._count += 1
        tree = self._folder / f"tree-{self._count}"
        for name, data in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(data)
        path = self._folder / f"made-{self._count}{SUFFIX}"
        manifest = pack(tree, about(**changes), path, threads=threads, level=3, frame_bytes=1 << 20)
        return Made(path, manifest, files)


def files_below(folder: Path) -> dict[str, bytes]:
    """Everything in an unpacked folder but the note."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != NOTE
    }


def tar_of(*members: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    """A tar as anybody could write it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return stream.getvalue()


def archive_of_tar(path: Path, tar: bytes, files: int, size: int) -> Path:
    """An archive in the right form with any tar inside: what somebody with access to the bucket could put there."""
    frame = zstandard.ZstdCompressor().compress(tar)
    frames = [(len(frame), len(tar), hashlib.sha256(frame).hexdigest())]
    head = json.dumps({"format": 1, "frames": frames, **about(), "files": files, "bytes": size}).encode()
    path.write_bytes(struct.pack("<II", 0x184D2A5E, len(head)) + head + frame)
    return path


def told(manifest: Manifest) -> dict[str, Any]:
    """The contents as data."""
    return asdict(manifest.contents)
