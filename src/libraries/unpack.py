"""Unpacks an archive: some frames are being fetched, one is decompressed, one written, all at the same time."""

from __future__ import annotations

import errno
import os
import shutil
import tarfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from contracts.stack_errors import ArchiveCorrupted, NoRoomForLibraries
from libraries.archive import Manifest, decompressed
from libraries.sources import Archive

THREADS = 8
"""Frames fetched at once: one connection to S3 gives some 50 to 100 MB/s. A frame has some 2 MB."""

SPARE_BYTES = 64 << 20
"""Left free beside the libraries; covers what small files take more than their bytes."""

BLOCK = tarfile.BLOCKSIZE
_MADE_BY_NAMES = (
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ,
)  # fmt: skip
"""Refusals of a file system that are the names' fault, not its own."""


class Extractor:
    """Writes the files of a tar below an empty folder as its bytes come, in stretches of any size.

    Takes regular files with plain relative names and nothing else: no links, no devices, no `..`.

    Args:
        folder: made by the caller.
        again: files may be there from an earlier attempt; those of the right size are left as they are.
        most_bytes: of all files together; a tar that holds more is refused before it fills the disk.
    """

    def __init__(self, folder: Path, where: str, *, again: bool = False, most_bytes: int | None = None) -> None:
        self._most_bytes = most_bytes
        self.files = 0
        self.bytes = 0
        self._root = str(folder)
        self._where = where
        self._again = again
        self._made = {self._root}
        self._header = bytearray()
        self._descriptor = -1
        self._path = ""
        self._open_file = False
        self._left = 0
        self._padding = 0
        self._ended = False

    def feed(self, data: bytes) -> None:
        """The tar's next bytes.

        Raises:
            ArchiveCorrupted: they are not what this module's writer writes.
        """
        view = memoryview(data)
        while len(view) and not self._ended:
            if self._open_file and self._left:
                view = self._write(view)
            elif self._padding:
                skipped = min(self._padding, len(view))
                self._padding -= skipped
                view = view[skipped:]
            else:
                taken = min(BLOCK - len(self._header), len(view))
                self._header += view[:taken]
                view = view[taken:]
                if len(self._header) == BLOCK:
                    self._begin(bytes(self._header))
                    self._header.clear()

    def close(self) -> None:
        """The tar is at its end.

        Raises:
            ArchiveCorrupted: it is not.
        """
        self.abandon()
        if not self._ended:
            raise ArchiveCorrupted(self._where, "its tar is cut off")

    def abandon(self) -> None:
        """Give the open file back, whole or not."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _begin(self, header: bytes) -> None:
        if not any(header):
            self._ended = True
            return
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
        except (tarfile.HeaderError, ValueError) as error:
            raise ArchiveCorrupted(self._where, f"a header cannot be read ({error})") from None
        parts = PurePosixPath(info.name).parts
        plain = "\0" not in info.name and "\\" not in info.name and not info.name.startswith("/")
        # A size may be negative in a header, and nothing would ever end it.
        regular = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and info.size >= 0
        if not regular or not plain or ".." in parts or not parts:
            raise ArchiveCorrupted(self._where, f"it holds {info.name!r} of type {info.type!r}", "plain files inside")
        if self._most_bytes is not None and self.bytes + info.size > self._most_bytes:
            raise ArchiveCorrupted(self._where, f"it held more than {self._most_bytes} bytes", "no more")
        self._path = "/".join((self._root, *parts))  # 6,000 times: texts are faster than paths
        self._make_folder(self._path.rpartition("/")[0])
        self._left, self._padding = info.size, -info.size % BLOCK
        self._open_file = True
        self.files += 1
        self.bytes += info.size
        if not (self._again and _size(self._path) == info.size):
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (os.O_TRUNC if self._again else os.O_EXCL)
            target = f"{self._path}.part" if self._again else self._path
            self._descriptor = os.open(target, flags, 0o644)
        if not self._left:
            self._finish()

    def _write(self, view: memoryview) -> memoryview:
        data, rest = view[: self._left], view[self._left :]
        self._left -= len(data)
        while self._descriptor >= 0 and len(data):
            data = data[os.write(self._descriptor, data) :]
        if not self._left:
            self._finish()
        return rest

    def _finish(self) -> None:
        self._open_file = False
        if self._descriptor >= 0:
            self.abandon()
            if self._again:  # a file has its name once it is whole
                os.rename(f"{self._path}.part", self._path)  # noqa: PTH104

    def _make_folder(self, folder: str) -> None:
        if folder not in self._made:
            os.makedirs(folder, mode=0o755, exist_ok=True)  # noqa: PTH103
            self._made.add(folder)


def unpack(archive: Archive, manifest: Manifest, folder: Path, *, threads: int = THREADS, again: bool = False) -> None:
    """Unpack a whole archive into a folder.

    Args:
        again: see `Extractor`.
    Raises:
        ArchiveCorrupted: a frame has another digest, or the tar is not what the manifest tells.
        NoRoomForLibraries: the disk is too small.
    """
    check_room(folder, manifest.contents.bytes, again=again)
    extractor = Extractor(folder, archive.where, again=again, most_bytes=manifest.contents.bytes)
    try:
        with _numbered(folder, archive.where):
            for raw in _frames(archive, manifest, threads):
                extractor.feed(raw)
        extractor.close()
    finally:
        extractor.abandon()
    found, told = (extractor.files, extractor.bytes), (manifest.contents.files, manifest.contents.bytes)
    if found != told:
        raise ArchiveCorrupted(archive.where, f"it held {found[0]} files, {found[1]} bytes", f"{told[0]}, {told[1]}")


def check_room(folder: Path, wanted_bytes: int, *, again: bool = False) -> None:
    """Look before anything is written.

    Raises:
        NoRoomForLibraries: there is too little.
    """
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if again else 0
    free = shutil.disk_usage(folder).free
    needed = wanted_bytes - there + SPARE_BYTES
    if free < needed:
        raise NoRoomForLibraries(str(folder), f"{free / 1e6:,.0f} MB are free", f"{needed / 1e6:,.0f} MB")


def _frames(archive: Archive, manifest: Manifest, threads: int) -> Iterator[bytes]:
    """Each frame's bytes of tar, in order.

    Several are being fetched, one is being decompressed, and one is in the caller's hands: that keeps two processors
    busy, which is what a function of 3 GB has, and little memory in use.
    """

    def fetch(index: int) -> bytearray:
        return archive.read(offsets[index], manifest.frames[index].packed)

    def unpacked(index: int, fetched: Future[bytearray]) -> bytes:
        return decompressed(manifest.frames[index], fetched.result(), archive.where)

    offsets, count = manifest.offsets(), len(manifest.frames)
    fetches: deque[Future[bytearray]] = deque()
    waiting: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(threads, "fetch") as fetchers, ThreadPoolExecutor(1, "unpack") as unpacker:
        try:
            for index in range(count):
                while len(fetches) < threads and index + len(fetches) < count:
                    fetches.append(fetchers.submit(fetch, index + len(fetches)))
                waiting.append(unpacker.submit(unpacked, index, fetches.popleft()))
                if len(waiting) > 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for under_way in (waiting, fetches):
                for future in under_way:
                    future.cancel()


@contextmanager
def _numbered(folder: Path, where: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoomForLibraries(str(folder), f"it is full ({error.strerror})", "room for the libraries") from error
        if error.errno in _MADE_BY_NAMES:
            raise ArchiveCorrupted(where, f"{error.filename}: {error.strerror}", "each path once") from error
        raise


def _size(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_size  # noqa: PTH116
    except FileNotFoundError:
        return -1
