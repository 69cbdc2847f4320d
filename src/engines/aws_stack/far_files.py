"""The shared files of a stack, seen from outside: only its functions mount them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from contracts.errors import HomeNotWritable
from contracts.ports import OpenFile


class FilesOutOfReach:
    """Implements `contracts.ports.SharedFiles` where there are none: only functions mount the stack's file system."""

    def __init__(self, place: str) -> None:
        self._place = place

    def write(self, path: str, buffers: Iterable[Any], *, durable: bool) -> int:
        """Always refused."""
        raise self._refused(path)

    def open(self, path: str) -> OpenFile:
        """Always refused."""
        raise self._refused(path)

    def read_into(self, path: str, offset: int, buffer: Any) -> None:
        """Always refused."""
        raise self._refused(path)

    def read(self, path: str) -> bytes:
        """Always refused."""
        raise self._refused(path)

    def exists(self, path: str) -> bool:
        """Always refused."""
        raise self._refused(path)

    def names(self, path: str) -> Sequence[str]:
        """Always refused."""
        raise self._refused(path)

    def remove(self, path: str) -> None:
        """Always refused."""
        raise self._refused(path)

    def local_path(self, path: str) -> str:
        """Always refused."""
        raise self._refused(path)

    def _refused(self, path: str) -> HomeNotWritable:
        return HomeNotWritable(path, f"it lies on the file system of {self._place}", "a file of this machine")
