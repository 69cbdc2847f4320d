"""Folders of unpacked libraries, one a digest, which several processes may make, use and remove at once.

<root>/<digest>/           whole: it got its name by a rename
<root>/<digest>.part/      being made by whoever has `.making`, or left behind by a process that was killed
<root>/<digest>.making     locked by whoever makes or removes the folder
<root>/<digest>.lock       locked shared by those who use the folder, alone by whoever removes it
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PART, MAKING, LOCK = ".part", ".making", ".lock"


class Held:
    """A folder that nobody removes until this process ends or lets it go.

    Attributes:
        path: of the folder.
        made: whether it was made just now.
    """

    def __init__(self, path: Path, made: bool, descriptor: int) -> None:
        self.path = path
        self.made = made
        self._descriptor = descriptor

    def release(self) -> None:
        """Let it go."""
        os.close(self._descriptor)


def hold(root: Path, digest: str, make: Callable[[Path], None]) -> Held:
    """The digest's folder, made by `make(empty folder)` where it is not there; of several callers one makes it."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder, part = root / digest, root / f"{digest}{PART}"
    with _locked(root / f"{digest}{MAKING}", fcntl.LOCK_EX):
        made = not folder.is_dir()
        if made:
            shutil.rmtree(part, ignore_errors=True)  # of a process that was killed: it had the lock
            part.mkdir(mode=0o700)
            try:
                make(part)
                part.rename(folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        descriptor = _open(root / f"{digest}{LOCK}")
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return Held(folder, made, descriptor)


def remove_others(root: Path, digest: str) -> list[str]:
    """Remove the folders of other digests that nobody holds or makes, half ones too.

    Returns:
        their digests.
    """
    removed = []
    for other in sorted(all_digests(root) - {digest}):
        with ExitStack() as locks, contextlib.suppress(BlockingIOError):
            for suffix in (MAKING, LOCK):
                locks.enter_context(_locked(root / f"{other}{suffix}", fcntl.LOCK_EX | fcntl.LOCK_NB))
            for path in (root / other, root / f"{other}{PART}"):
                shutil.rmtree(path, ignore_errors=True)
            removed.append(other)
    return removed


def all_digests(root: Path) -> set[str]:
    """Of the folders there, half ones included."""
    with contextlib.suppress(FileNotFoundError):
        return {path.name.removesuffix(PART) for path in root.iterdir() if path.is_dir()}
    return set()


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
