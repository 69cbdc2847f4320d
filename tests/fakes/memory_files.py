"""Shared files in memory. Passes the same contract suite as a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from contracts.errors import TornFile
from contracts.identifiers import check_relative_path
from fakes.memory_store import no_hook


class OpenContent:
    """Implements OpenFile: as on a file system, an open file's content stays though its name goes.

    Unless it was made a spare: then it becomes another file's, byte by byte, while it is read.
    """

    def __init__(self, path: str, content: bytes | bytearray, files: MemoryFiles) -> None:
        self._path, self._content, self._files = path, content, files
        self._as_opened = bytes(content) if files.keep_spares else b""
        self._is_viewed = False

    def __enter__(self) -> OpenContent:
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_viewed and self._files.contents.get(self._path) is not self._content:
            self._files.cleared_in_view(self._path)

    def read_into(self, offset: int, buffer: Any) -> None:
        view = memoryview(buffer).cast("B")
        content = self.read(offset, len(view))
        if len(content) < len(view):
            wanted = f"at least {offset + len(view)} bytes"
            raise TornFile(self._path, f"it ends at byte {offset + len(content)}", wanted)
        view[:] = content

    def view(self, offset: int, size: int) -> memoryview | None:
        if not self._files.gives_views:
            return None
        self._files._hook_while_open("before view")
        if len(self._content) < offset + size:
            raise TornFile(self._path, f"it ends at byte {len(self._content)}", f"at least {offset + size} bytes")
        self._is_viewed = True
        return memoryview(self._content).toreadonly()[offset : offset + size]

    def read(self, offset: int, count: int) -> bytes:
        """As many bytes as there are."""
        if not self._files.keep_spares:
            return bytes(self._content[offset : offset + count])
        middle, end = offset + count // 2, offset + count
        content = b""
        for low, high in ((offset, middle), (middle, end)):
            self._files._hook_while_open("before read")
            content += self._content[low:high]
        if content != self._as_opened[offset:end]:
            self._files.late_looks.append(self._path)
        return content


class MemoryFiles:
    """Implements SharedFiles. `durable` remembers what was synchronised.

    Args:
        keep_spares: removed files are overwritten in place by later ones of any size, which is more than a folder does.
            `late_looks` are the files that showed other bytes than when they were opened.
        gives_views: open files can be seen as they lie in memory, and go on to be overwritten. `late_views` are those
            that were removed before who saw them had closed them.
    """

    def __init__(
        self, hook: Callable[[str], None] = no_hook, *, keep_spares: bool = False, gives_views: bool = False
    ) -> None:
        self._hook = self._hook_while_open = hook
        self.keep_spares = keep_spares
        self.gives_views = gives_views
        self.contents: dict[str, bytes | bytearray] = {}
        self.durable: set[str] = set()
        self.spares: list[bytearray] = []
        self.late_looks: list[str] = []
        self.late_views: list[str] = []

    def write(self, path: str, buffers: Iterable[Any], *, durable: bool) -> int:
        check_relative_path(path)
        self._hook("before write")
        content = b"".join(bytes(memoryview(buffer).cast("B")) for buffer in buffers)
        self.contents[path] = self._over_a_spare(content) if self.keep_spares else content
        (self.durable.add if durable else self.durable.discard)(path)
        self._hook("after write")
        return len(content)

    def _over_a_spare(self, content: bytes) -> bytearray:
        # What somebody has in view cannot change its length.
        fit = [spare for spare in self.spares if not self.gives_views or len(spare) == len(content)]
        if not fit:
            return bytearray(content)
        spare = fit[-1]
        self.spares = [other for other in self.spares if other is not spare]
        del spare[len(content) :]
        middle = len(content) // 2
        spare[:middle] = content[:middle]
        self._hook("half written")
        spare[middle:] = content[middle:]
        return spare

    def cleared_in_view(self, path: str) -> None:
        """Somebody closes a file that was removed while it was in view."""
        self.late_views.append(path)

    def open(self, path: str) -> OpenContent:
        check_relative_path(path)
        self._hook("before read")
        if path not in self.contents:
            raise TornFile(path, "there is no such file", "one")
        return OpenContent(path, self.contents[path], self)

    def read_into(self, path: str, offset: int, buffer: Any) -> None:
        with self.open(path) as file:
            file.read_into(offset, buffer)

    def read(self, path: str) -> bytes:
        file = self.open(path)
        return file.read(0, len(self.contents[path]))

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
            content = self.contents.pop(name)
            if isinstance(content, bytearray):
                self.spares.append(content)

    def local_path(self, path: str) -> str:
        return path
