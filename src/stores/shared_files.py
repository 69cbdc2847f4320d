"""The shared files on a folder: an EFS mount on Lambda, a local folder on a laptop. The same code for both."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from contracts.errors import DiskFull, HomeNotWritable, LambdafitError, TornFile
from contracts.identifiers import check_relative_path
from stores.private_folders import make_private_folder
from stores.spare_files import FILE_MODE, TEMPORARY_SUFFIX, SpareFiles

# The map needs no descriptor of its own, which Python otherwise makes.
_MAP_OPTIONS: dict[str, bool] = {"trackfd": False} if sys.version_info >= (3, 13) else {}


class OpenDescriptor:
    """Implements `contracts.ports.OpenFile`.

    Args:
        gives_views: whether it may be mapped.
    """

    def __init__(self, path: str, descriptor: int, *, gives_views: bool = False) -> None:
        self._path = path
        self._descriptor = descriptor
        self._gives_views = gives_views

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
                raise self._too_short(offset + done, offset + len(view))
            done += count

    def view(self, offset: int, size: int) -> memoryview | None:
        """See `OpenFile.view`: mapped, and unmapped when the last who holds it lets go."""
        if not self._gives_views or size <= 0:
            return None
        length = os.fstat(self._descriptor).st_size
        if length < offset + size:
            raise self._too_short(length, offset + size)
        begin = offset - offset % mmap.ALLOCATIONGRANULARITY
        try:
            whole = mmap.mmap(
                self._descriptor, offset + size - begin, prot=mmap.PROT_READ, offset=begin, **_MAP_OPTIONS
            )
        except OSError:  # a file system without maps, or too many of them
            return None
        return memoryview(whole)[offset - begin :]

    def _too_short(self, length: int, wanted: int) -> TornFile:
        return TornFile(self._path, f"it ends at byte {length}", f"at least {wanted} bytes")


class FolderFiles:
    """Implements `contracts.ports.SharedFiles` below one folder.

    Args:
        root: made when something is written.
        keep_spares: let large files that are removed be overwritten by later ones. For one machine's engine alone, and
            it gives them up when it ends: on a network file system another client may answer from what it has
            cached of the file that was.
        give_views: let open files be mapped, which saves copying them. For one machine alone, too: on a network file
            system a page that cannot be fetched ends the process, where a read would be an error.
    """

    def __init__(self, root: Path, *, keep_spares: bool = False, give_views: bool = False) -> None:
        self._root = root.resolve()
        self._spares = SpareFiles(self._root)
        self._keep_spares = keep_spares
        self._give_views = give_views

    def write(self, path: str, buffers: Iterable[Any], *, durable: bool) -> int:
        """See `SharedFiles.write`."""
        if not self._keep_spares:
            return self._write(path, buffers, durable=durable)
        again = isinstance(buffers, Sequence)  # anything else has been read as far as it was written
        spare_bytes = _total_bytes(buffers) if isinstance(buffers, Sequence) else 0
        try:
            return self._write(path, buffers, durable=durable, spare_bytes=spare_bytes)
        except DiskFull:
            self.give_up_spares()
            if not again:
                raise
        except HomeNotWritable:
            if not spare_bytes:  # else perhaps only the spare cannot be written
                raise
        return self._write(path, buffers, durable=durable)

    def give_up_spares(self) -> None:
        """Remove all spares, whoever keeps them. Never an error."""
        self._spares.give_up()

    def _write(self, path: str, buffers: Iterable[Any], *, durable: bool, spare_bytes: int = 0) -> int:
        """As `write`, over a spare if there is one that may hold `spare_bytes` (0: always a new file)."""
        target = self._resolve(path)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
        left = temporary
        try:
            make_private_folder(target.parent)
            written = 0
            spare = self._spares.take(temporary, spare_bytes) if spare_bytes else None
            new = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            descriptor = os.open(temporary, new, FILE_MODE) if spare is None else spare
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
            descriptor = os.open(self._resolve(path), os.O_RDONLY)
        except FileNotFoundError:
            raise TornFile(path, "there is no such file", "one") from None
        return OpenDescriptor(path, descriptor, gives_views=self._give_views)

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
        except (FileNotFoundError, NotADirectoryError):
            return []

    def remove(self, path: str) -> None:
        """See `SharedFiles.remove`."""
        target = self._resolve(path)
        if self._keep_spares:
            # Also what was durable. The loss of power may bring its name back over other bytes; but before anything
            # is cleared, the run store has been made durable in a state that no longer names it (`runs.combine.clear`),
            # and a file that its own execution takes back was never named (`runs.execute`).
            self._spares.keep_all(target)
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


def _total_bytes(buffers: Sequence[Any]) -> int:
    return sum(memoryview(buffer).nbytes for buffer in buffers)


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
