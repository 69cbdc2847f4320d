"""Removed files, kept for a while as spares: a large file that overwrites one costs a fraction of a new one.

What is saved is the allocation of pages and blocks. See docs/adr/0009-spare-files.md for why nobody can be misled.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from stores.private_folders import FOLDER_MODE

FILE_MODE = 0o600
TEMPORARY_SUFFIX = ".part"
SPARES_FOLDER = "spares"
MIN_BYTES = 1 << 20
"""Smaller files are as quickly made as found."""

MAX_FILES = 64
MAX_BYTES = 1 << 30
MAX_SIZE_FACTOR = 2
"""How much larger or smaller than the new file a spare may be."""


class SpareFiles:
    """The spares in a folder of their own. Many processes may keep and take at once.

    Nothing here raises: a spare is never needed.

    Args:
        root: of the shared files, so that a file becomes a spare, and a spare a file, by a rename.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / SPARES_FOLDER

    def keep_all(self, target: Path) -> None:
        """Make spares of a file, or of the files below a folder, as far as they suit and there is room."""
        with contextlib.suppress(OSError):
            if not stat.S_ISDIR(target.lstat().st_mode):
                self._keep(target)
                return
        for folder, _, names in os.walk(target):  # does not follow links below the target
            for name in names:
                self._keep(Path(folder, name))

    def take(self, temporary: Path, size: int) -> int | None:
        """Rename a spare, and open it for being overwritten from its start.

        Args:
            temporary: its new name, which nobody else has.
            size: bytes that it will have.
        Returns:
            the descriptor, or None where there is no such spare: then nothing is at `temporary`.
        """
        for spare in self._fitting(size):
            try:
                spare.rename(temporary)  # of several who try, one succeeds
            except FileNotFoundError:
                continue
            except OSError:
                return None
            descriptor = _opened(temporary, size)
            if descriptor is not None:
                return descriptor
        return None

    def give_up(self) -> None:
        """Remove all spares."""
        for path, _ in list(self._spares()):
            with contextlib.suppress(OSError):
                path.unlink()
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _keep(self, path: Path) -> None:
        """Make a spare of the file, if it suits. Who keeps at the same moment may exceed the limits by a file each."""
        with contextlib.suppress(OSError):  # it is removed then
            status = path.lstat()
            # One that is being written is not to be overwritten: its writer, however late, still has it open.
            if path.name.endswith(TEMPORARY_SUFFIX) or not _suits(status):
                return
            sizes = [spare.st_size for _, spare in self._spares()]
            if len(sizes) >= MAX_FILES or sum(sizes) + status.st_size > MAX_BYTES:
                return
            self._folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
            path.rename(self._folder / secrets.token_hex(8))

    def _fitting(self, size: int) -> list[Path]:
        """The spares that may be used for a file of so many bytes; those of just that size first."""
        if size < MIN_BYTES:
            return []
        found = [
            (status.st_size != size, path.name, path)
            for path, status in self._spares()
            if size <= status.st_size * MAX_SIZE_FACTOR and status.st_size <= size * MAX_SIZE_FACTOR
        ]
        return [path for _, _, path in sorted(found)]

    def _spares(self) -> Iterator[tuple[Path, os.stat_result]]:
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):  # taken meanwhile
                    yield Path(entry.path), entry.stat(follow_symlinks=False)


def _suits(status: os.stat_result) -> bool:
    """Whether a file looks like one that was written here, is large, and has no other name that anybody relies on."""
    ours = stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == FILE_MODE
    return ours and status.st_nlink == 1 and status.st_size >= MIN_BYTES


def _opened(temporary: Path, size: int) -> int | None:
    """A renamed spare open for writing, cut to the size, or None, with the file removed."""
    descriptor = -1
    try:
        descriptor = os.open(temporary, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0))
        status = os.fstat(descriptor)
        if _suits(status):
            if status.st_size != size:
                os.ftruncate(descriptor, size)
            return descriptor
    except OSError:
        pass
    if descriptor >= 0:
        os.close(descriptor)
    with contextlib.suppress(OSError):
        temporary.unlink()
    return None
