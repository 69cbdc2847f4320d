"""The shared files of a simulated world: torn, lost, half written, overwritten under their readers, and watched."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from contracts.errors import HomeNotWritable, TornFile
from fakes.memory_files import MemoryFiles, OpenContent
from simulation.violations import Violation

TEMPORARY = ".part"


class WatchedContent(OpenContent):
    """An open file that tells when it showed other bytes than were written under its name."""

    def __init__(self, path: str, content: bytes | bytearray, files: SimulatedFiles) -> None:
        self._path, self._content, self._files, self._watched = path, content, files, files
        self._as_opened = bytes(content) if files.keep_spares else b""
        self._is_viewed = False

    def read(self, offset: int, count: int) -> bytes:
        found = super().read(offset, count)
        # A single byte is only a look at whether the file ends too early.
        if count > 1 and found != self._watched.written[self._path][offset : offset + count]:
            self._watched.saw_wrong(self._path)
        return found


class SimulatedFiles(MemoryFiles):
    """Implements SharedFiles; what a loss of power does to it is in `lose_power`.

    Args:
        watcher: is told of each file that is read, written or removed.
    """

    def __init__(self, hook: Callable[[str], None], watcher: Any, *, keep_spares: bool = False) -> None:
        super().__init__(hook, keep_spares=keep_spares)
        self._watcher = watcher
        self._hook_while_open = watcher.world.lingers_at
        self.written: dict[str, bytes] = {}
        self.removed: dict[str, bytes | bytearray] = {}
        self.remembers_removed = False
        self._temporaries = 0

    def write(self, path: str, buffers: Iterable[Any], *, durable: bool) -> int:
        self._hook("before write")
        content = b"".join(bytes(memoryview(buffer).cast("B")) for buffer in buffers)
        self._watcher.writes(path)
        folder, _, name = path.rpartition("/")
        self._temporaries += 1
        temporary = f"{folder}/.{name}.{self._temporaries}{TEMPORARY}"
        self._watcher.writers[temporary] = self._watcher.writers[path]
        self.contents[temporary] = content[: len(content) // 2]
        self._watcher.world.at_risk("half written")
        if self.contents.pop(temporary, None) is None:  # its folder was cleared meanwhile
            raise HomeNotWritable(path, "no such file or folder")
        # What one name means must never change; the report and the model have one name whoever writes them.
        own = path.startswith("runs/") and path.count("/") > 2
        if self.written.setdefault(path, content) != content or (own and path in self.contents):
            raise Violation("a name means one file", f"{path} was written twice")
        self.contents[path] = self._over_a_spare(content) if self.keep_spares else content
        (self.durable.add if durable else self.durable.discard)(path)
        self._watcher.wrote(path)
        self._hook("after write")
        return len(content)

    def open(self, path: str) -> OpenContent:
        self._hook("before read")
        self._watcher.reads(path)
        if path not in self.contents:
            raise TornFile(path, "there is no such file", "one")
        return WatchedContent(path, self.contents[path], self)

    def names(self, path: str) -> Sequence[str]:
        self._hook("before names")
        prefix = f"{path}/"
        start = len(prefix)
        return sorted({name[start:].split("/", 1)[0] for name in self.contents if name.startswith(prefix)})

    def exists(self, path: str) -> bool:
        return path in self.contents or any(name.startswith(f"{path}/") for name in self.contents)

    def remove(self, path: str) -> None:
        self._hook("before remove")
        gone = [path] if path in self.contents else [n for n in self.contents if n.startswith(f"{path}/")]
        for name in gone:
            self._watcher.removes(name)
            content = self.contents.pop(name)
            if self.remembers_removed and name in self.durable:
                self.removed[name] = content
            if isinstance(content, bytearray):
                self.spares.append(content)
        if gone:
            self._hook("after remove")

    def cleared_in_view(self, path: str) -> None:
        super().cleared_in_view(path)
        self._watcher.cleared_in_view(path)

    def saw_wrong(self, path: str) -> None:
        """Somebody was shown other bytes than were written under this name."""
        self._watcher.saw_wrong(path)

    def tear(self, chance: random.Random, round_index: int) -> str:
        """Damage one file of the round that was never synchronised. Returns which; empty where there is none."""
        folder = f"/updates/{round_index:06d}/"
        found = sorted(path for path in self.contents if path not in self.durable and folder in path)
        if not found:
            return ""
        path = chance.choice(found)
        self._damage(path, chance)
        return path

    def lose_power(self, chance: random.Random) -> None:
        """Files that were not synchronised are lost, cut, full of zeros or whole; removed ones may be back."""
        for path in sorted(path for path in self.contents if path not in self.durable):
            fate = chance.random()
            if fate < 0.4:
                del self.contents[path]
            elif fate < 0.8:
                self._damage(path, chance)
        for path, content in self.removed.items():
            if chance.random() < 0.3 and path not in self.contents:
                self.contents[path] = content[:]  # what was written over it meanwhile is another file
                self._watcher.came_back(path)
        self.removed.clear()
        self.spares.clear()

    def _damage(self, path: str, chance: random.Random) -> None:
        content = self.contents[path]
        if len(content) < 8:
            return
        flipped = content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]
        cut = chance.choice((content[:-3], flipped, content[: len(content) // 2], content[:0]))
        self.contents[path] = bytearray(cut) if isinstance(content, bytearray) else cut
