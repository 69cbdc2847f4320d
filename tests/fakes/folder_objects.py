"""A bucket that is a folder. Passes the same contract suite as S3."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xxhash

from contracts.identifiers import check_relative_path
from contracts.ports import ObjectFacts
from contracts.stack_errors import ObjectChanged, ObjectNotFound


class FolderObjects:
    """Implements `contracts.ports.Objects` below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def head(self, key: str) -> ObjectFacts:
        """See `Objects.head`."""
        path = self._root / check_relative_path(key)
        if not path.is_file():
            raise ObjectNotFound(f"{self._root}/{key}", "it is not there")
        return ObjectFacts(key, path.stat().st_size, _etag(path))

    def read(self, key: str) -> bytes:
        """See `Objects.read`."""
        self.head(key)
        return (self._root / key).read_bytes()

    def read_into(self, facts: ObjectFacts, offset: int, buffer: Any) -> None:
        """See `Objects.read_into`."""
        view = memoryview(buffer).cast("B")
        if self.head(facts.key).etag != facts.etag or offset + len(view) > facts.bytes:
            raise ObjectChanged(f"{self._root}/{facts.key}", "it is another object by now, or ends too early")
        with (self._root / facts.key).open("rb") as stream:
            stream.seek(offset)
            stream.readinto(view)

    def list(self, prefix: str) -> Sequence[ObjectFacts]:
        """See `Objects.list`."""
        files = (path for path in self._root.rglob("*") if path.is_file() and not path.name.endswith(".part"))
        keys = sorted(path.relative_to(self._root).as_posix() for path in files)
        return [self.head(key) for key in keys if key.startswith(prefix)]

    def write(self, key: str, data: bytes) -> None:
        """See `Objects.write`."""
        with self._new(key) as temporary:
            temporary.write_bytes(data)

    def write_file(self, key: str, path: Path) -> int:
        """See `Objects.write_file`."""
        with self._new(key) as temporary:
            shutil.copyfile(path, temporary)
        return path.stat().st_size

    def remove(self, key: str) -> None:
        """See `Objects.remove`."""
        (self._root / check_relative_path(key)).unlink(missing_ok=True)

    @contextmanager
    def _new(self, key: str) -> Iterator[Path]:
        target = self._root / check_relative_path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
        try:
            yield temporary
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def _etag(path: Path) -> str:
    return xxhash.xxh3_128_hexdigest(path.read_bytes())
