"""The shared files on a folder: an EFS mount on Lambda, a local folder on a laptop. The same code for both."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from contracts.errors import DiskFull, HomeNotWritable, LambdafitError, TornFile
from contracts.identifiers import check_relative_path

FOLDER_MODE = 0o700
FILE_MODE = 0o600
TEMPORARY_SUFFIX = ".part"


class OpenDescriptor:
    """Implements `contracts.ports.OpenFile`."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._descriptor)

    def read_into(self, offset: int, buffer: Any) -> None:
        """See `OpenFile.read_into`."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view):
            count = os.preadv(self._descriptor, [view[done:]], offset + done)
            if count == 0:
                raise TornFile(self._path, f"it ends at byte {offset + done}", f"at least {offset + len(view)} bytes")
            done += count


class FolderFiles:
    """Implements `contracts.ports.SharedFiles` below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def write(self, path: str, buffers: Iterable[Any], *, durable: bool) -> int:
        """See `SharedFiles.write`."""
        target = self._resolve(path)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
        left = temporary
        try:
            target.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            written = 0
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
            try:
                for buffer in buffers:
                    written += _write_all(descriptor, memoryview(buffer).cast("B"))
                # Renamed before it is synchronised: nobody opens it before its report, and the second of the two
                # synchronisations then finds nothing left to do.
                temporary.rename(target)
                left = target
                if durable:
                    os.fsync(descriptor)
                    _sync_folder(target.parent)
            finally:
                os.close(descriptor)
        except BaseException as error:  # whoever brings the buffers may refuse to go on
            with contextlib.suppress(OSError):
                left.unlink()
            if isinstance(error, OSError):
                raise _write_error(path, error) from error
            raise
        return written

    def open(self, path: str) -> OpenDescriptor:
        """See `SharedFiles.open`."""
        try:
            return OpenDescriptor(path, os.open(self._resolve(path), os.O_RDONLY))
        except FileNotFoundError:
            raise TornFile(path, "there is no such file", "one") from None

    def read_into(self, path: str, offset: int, buffer: Any) -> None:
        """See `SharedFiles.read_into`."""
        with self.open(path) as file:
            file.read_into(offset, buffer)

    def read(self, path: str) -> bytes:
        """See `SharedFiles.read`."""
        try:
            return self._resolve(path).read_bytes()
        except FileNotFoundError:
            raise TornFile(path, "there is no such file", "one") from None

    def exists(self, path: str) -> bool:
        """See `SharedFiles.exists`."""
        return self._resolve(path).exists()

    def names(self, path: str) -> Sequence[str]:
        """See `SharedFiles.names`."""
        try:
            return sorted(os.listdir(self._resolve(path)))  # noqa: PTH208 - names are wanted, not paths
        except FileNotFoundError:
            return []

    def remove(self, path: str) -> None:
        """See `SharedFiles.remove`."""
        target = self._resolve(path)
        try:
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target, ignore_errors=False)
            else:
                target.unlink(missing_ok=True)
        except FileNotFoundError:
            return  # somebody else removed it at the same time
        except OSError as error:
            raise _write_error(path, error) from error

    def local_path(self, path: str) -> str:
        """See `SharedFiles.local_path`."""
        return str(self._resolve(path))

    def _resolve(self, path: str) -> Path:
        return self._root / check_relative_path(path)


def _write_all(descriptor: int, view: memoryview) -> int:
    done = 0
    while done < len(view):  # one call writes at most 2 GiB
        done += os.write(descriptor, view[done:])
    return done


def _sync_folder(folder: Path) -> None:
    """Makes a rename in the folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_error(path: str, error: OSError) -> LambdafitError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(path, f"the disk is full ({error.strerror})", "room for the file")
    return HomeNotWritable(path, str(error.strerror), "a writable file system")
