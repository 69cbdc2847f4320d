"""Shared files in memory. Passes the same contract suite as a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from contracts.errors import TornFile
from contracts.identifiers import check_relative_path
from fakes.memory_store import no_hook


class OpenContent:
    """Implements OpenFile: as on a file system, an open file's content stays though its name goes."""

    def __init__(self, path: str, content: bytes) -> None:
        self._path, self._content = path, content

    def __enter__(self) -> OpenContent:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def read_into(self, offset: int, buffer: Any) -> None:
        view = memoryview(buffer).cast("B")
        content = self._content[offset : offset + len(view)]
        if len(content) < len(view):
            wanted = f"at least {offset + len(view)} bytes"
            raise TornFile(self._path, f"it ends at byte {offset + len(content)}", wanted)
        view[:] = content


class MemoryFiles:
    """Implements SharedFiles. `durable` remembers what was synchronised."""

    def __init__(self, hook: Callable[[str], None] = no_hook) -> None:
        self._hook = hook
        self.contents: dict[str, bytes] = {}
        self.durable: set[str] = set()

    def write(self, path: str, buffers: Iterable[Any], *, durable: bool) -> int:
        check_relative_path(path)
        self._hook("before write")
        content = b"".join(bytes(memoryview(buffer).cast("B")) for buffer in buffers)
        self.contents[path] = content
        (self.durable.add if durable else self.durable.discard)(path)
        self._hook("after write")
        return len(content)

    def open(self, path: str) -> OpenContent:
        return OpenContent(path, self.read(path))

    def read_into(self, path: str, offset: int, buffer: Any) -> None:
        with self.open(path) as file:
            file.read_into(offset, buffer)

    def read(self, path: str) -> bytes:
        check_relative_path(path)
        self._hook("before read")
        if path not in self.contents:
            raise TornFile(path, "there is no such file", "one")
        return self.contents[path]

    def exists(self, path: str) -> bool:
        check_relative_path(path)
        return path in self.contents or any(name.startswith(f"{path}/") for name in self.contents)

    def names(self, path: str) -> Sequence[str]:
        check_relative_path(path)
        prefix = f"{path}/"
        return sorted({name[len(prefix) :].split("/")[0] for name in self.contents if name.startswith(prefix)})

    def remove(self, path: str) -> None:
        check_relative_path(path)
        self._hook("before remove")
        for name in [n for n in self.contents if n == path or n.startswith(f"{path}/")]:
            del self.contents[name]

    def local_path(self, path: str) -> str:
        return path
