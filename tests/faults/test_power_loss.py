"""The power fails before any system call of a write: what was durable is whole afterwards, also over removed files.

On a real file system, in an image of its own. "Power off" is the kernel's: the file system drops all that it has not
written, its log included, and from then on every call fails (Linux's EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import HomeNotWritable
from stores.shared_files import FolderFiles

SHUTDOWN = 0x8004587D
WITHOUT_ITS_LOG = struct.pack("I", 2)
IMAGE_BYTES = 320 << 20
"""XFS wants 300 MB; the image has holes."""

MAKERS = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-f")}
LARGE = 1 << 20
ROUNDS = 5
CALLS = ("open", "write", "ftruncate", "rename", "fsync", "unlink", "rmdir")
PARAMETERS, UPDATE = "runs/r-1/parameters/{:06d}/slice", "runs/r-1/updates/{:06d}/worker"


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


class NoPowerSwitch(Exception):
    """The file system cannot be shut down. Not an OSError: what is tested turns those into errors of its own."""


class Disk:
    """A file system in a file; `folder` is where it is mounted."""

    def __init__(self, folder: Path, maker: Sequence[str]) -> None:
        self.folder = folder / "mounted"
        self.folder.mkdir()
        self._image = folder / "image"
        with self._image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        run(*maker, self._image)
        self.mount()

    def mount(self) -> None:
        run("mount", "-o", "loop", self._image, self.folder)

    def unmount(self) -> None:
        run("umount", self.folder)

    def power_off(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, WITHOUT_ITS_LOG)
        except OSError as error:
            raise NoPowerSwitch(str(error)) from error
        finally:
            os.close(descriptor)

    def power_on(self) -> None:
        self.unmount()
        self.mount()


@pytest.fixture(params=MAKERS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    maker = MAKERS[request.param]
    if os.geteuid() != 0 or not shutil.which(maker[0]):
        pytest.skip(f"needs root's rights, and {maker[0]}")
    try:
        disk = Disk(tmp_path, maker)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no {request.param} can be mounted here: {error.stderr.decode().strip()}")
    try:
        disk.power_off()
    except NoPowerSwitch as error:
        disk.unmount()
        pytest.skip(f"{request.param} cannot be shut down here: {error}")
    disk.power_on()
    yield disk
    disk.unmount()


class Rounds:
    """Writes parameters and an update each round and clears those of two rounds before, as a run does.

    Attributes:
        durable: path → bytes of what is to be whole after a loss of power.
        over_spares: how many durable files were written over removed ones.
    """

    def __init__(self, folder: Path) -> None:
        self._root = folder / "shared"
        self._files = FolderFiles(self._root, keep_spares=True)
        self.durable: dict[str, bytes] = {}
        self.over_spares = 0

    def play(self) -> None:
        for index in range(ROUNDS):
            content = bytes([index + 1]) * (LARGE + index)
            path = PARAMETERS.format(index)
            known = {spare.stat().st_ino for spare in (self._root / "spares").glob("*")}
            self._files.write(UPDATE.format(index), [content], durable=False)
            self._files.write(path, [content[:100], content[100:]], durable=True)
            self.durable[path] = content
            with suppress(OSError):  # the power is off
                self.over_spares += (self._root / path).stat().st_ino in known
            if index >= 2:
                old = PARAMETERS.format(index - 2)
                del self.durable[old]
                for name in (old, UPDATE.format(index - 2)):
                    self._files.remove(str(Path(name).parent))


def play(rounds: Rounds, monkeypatch: pytest.MonkeyPatch, before: Callable[[int], None]) -> list[str]:
    """Play it until it ends or fails; `before` is told the number of each system call that is about to be made.

    Returns:
        the calls' names.
    """
    names: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            names.append(name)
            before(len(names))
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        for name in CALLS:
            patched.setattr(os, name, counted(name))
        with suppress(HomeNotWritable):
            rounds.play()
    return names


def test_what_was_durable_is_whole_after_a_loss_of_power_at_any_call(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsal = Rounds(disk.folder / "rehearsal")
    calls = play(rehearsal, monkeypatch, lambda number: None)
    assert rehearsal.over_spares == ROUNDS - 3 and len(rehearsal.durable) == 2
    for at, name in enumerate(calls, 1):
        folder = disk.folder / str(at)
        rounds = Rounds(folder)
        play(rounds, monkeypatch, lambda number, at=at: disk.power_off() if number == at else None)
        disk.power_on()
        files = FolderFiles(folder / "shared")
        torn = [path for path, content in rounds.durable.items() if files.read(path) != content]
        assert not torn, f"the power failed before call {at}, {name}"
        shutil.rmtree(folder, ignore_errors=True)
