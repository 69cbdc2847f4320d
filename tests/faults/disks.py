"""Small disks in memory that can be full or read-only: needs root."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT = 1, 2, 4, 32
MNT_DETACH = 2
_PIECE_BYTES = 1 << 20


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _mount(target: Path, flags: int, size_bytes: int) -> int:
    """Returns 0, or what is in the way."""
    options = f"size={size_bytes},mode=700".encode() if size_bytes else None
    done = _libc().mount(b"lambdafit-faults", bytes(target), b"tmpfs", MS_NOSUID | MS_NODEV | flags, options)
    return 0 if done == 0 else ctypes.get_errno()


@contextlib.contextmanager
def disk(target: Path, size_bytes: int = 1 << 20) -> Iterator[Path]:
    """A disk of its own at a folder, for as long as the block lasts."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    problem = _mount(target, 0, size_bytes)
    if problem:
        raise PermissionError(problem, os.strerror(problem), str(target))
    try:
        yield target
    finally:
        _libc().umount2(bytes(target), MNT_DETACH)


@cache
def can_mount() -> bool:
    """Whether this process may mount at all."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        try:
            with disk(Path(folder)):
                return True
        except (OSError, AttributeError):
            return False


def is_read_only(target: Path, wanted: bool) -> bool:
    """Remount a disk. Returns whether that could be done; not while a file is open for writing."""
    problem = _mount(target, MS_REMOUNT | (MS_RDONLY if wanted else 0), 0)
    if problem not in (0, errno.EBUSY):
        raise OSError(problem, os.strerror(problem), str(target))
    return problem == 0


@contextlib.contextmanager
def fill(folder: Path) -> Iterator[None]:
    """Take all the room that a disk has left."""
    path = folder / "filler"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        piece = bytes(_PIECE_BYTES)
        while piece:
            try:
                os.write(descriptor, piece)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                piece = piece[: len(piece) // 2]
        yield
    finally:
        os.close(descriptor)
        path.unlink()
