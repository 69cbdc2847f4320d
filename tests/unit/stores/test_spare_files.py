"""Removed files are overwritten by later ones, where that is safe; where it is not, nothing is different."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contracts.errors import DiskFull
from engines.home import Home
from engines.local import LocalEngine
from simulation.world import settings
from stores import spare_files
from stores.shared_files import FolderFiles

LARGE = 1 << 20
SIZES_USED = [LARGE, LARGE + 5, 2 * LARGE]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path.resolve() / "shared"


@pytest.fixture
def files(root: Path) -> FolderFiles:
    return FolderFiles(root, keep_spares=True)


def removed(files: FolderFiles, root: Path, size: int = LARGE, name: str = "old/a") -> int:
    """Write a file and remove it; its inode."""
    files.write(name, [b"o" * size], durable=True)
    inode = (root / name).stat().st_ino
    files.remove(name)
    return inode


def spares(root: Path) -> list[Path]:
    return sorted((root / "spares").glob("*"))


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("size", SIZES_USED)
def test_a_new_file_overwrites_a_removed_one(files: FolderFiles, root: Path, size: int, durable: bool) -> None:
    inode = removed(files, root, 2 * LARGE)
    assert (root / "spares").stat().st_mode & 0o777 == 0o700
    assert files.write("new/a", [b"n" * (size - 1), b"!"], durable=durable) == size
    assert (root / "new/a").stat().st_ino == inode
    assert (root / "new/a").stat().st_mode & 0o777 == 0o600
    assert files.read("new/a") == b"n" * (size - 1) + b"!"
    assert spares(root) == [] and files.names("new") == ["a"]


def test_a_spare_of_the_same_size_is_taken_first_and_a_smaller_one_grows(files: FolderFiles, root: Path) -> None:
    for name, size in (("smaller", LARGE), ("same", 2 * LARGE)):
        files.write(f"old/{name}", [b"o" * size], durable=True)
    smaller, same = ((root / "old" / name).stat().st_ino for name in ("smaller", "same"))
    files.remove("old")
    for name, inode in (("a", same), ("b", smaller)):
        files.write(f"new/{name}", [b"n" * 2 * LARGE], durable=False)
        assert (root / "new" / name).stat().st_ino == inode
        assert files.read(f"new/{name}") == b"n" * 2 * LARGE


@pytest.mark.parametrize("size", [2 * LARGE + 1, LARGE - 1])
def test_a_file_that_is_small_or_of_another_size_is_new(files: FolderFiles, root: Path, size: int) -> None:
    removed(files, root)
    files.write("new/a", [b"n" * size], durable=False)
    assert len(spares(root)) == 1 and files.read("new/a") == b"n" * size


def test_only_a_large_file_without_another_name_becomes_a_spare(files: FolderFiles, root: Path, tmp_path: Path) -> None:
    for name in ("small", "linked", "opened.npy.part", "not-ours", "good"):
        files.write(f"old/{name}", [b"o" * (LARGE - (name == "small"))], durable=False)
    os.link(root / "old/linked", tmp_path / "backup")
    (root / "old/not-ours").chmod(0o644)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"o" * LARGE)
    (outside / "file").chmod(0o600)
    (root / "old/link").symlink_to(outside / "file")
    (root / "old/folder").symlink_to(outside)
    good = (root / "old/good").stat().st_ino
    files.remove("old")
    assert [spare.stat().st_ino for spare in spares(root)] == [good]
    assert (outside / "file").exists() and not (root / "old").exists()


def test_a_link_is_removed_and_what_it_names_stays(files: FolderFiles, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"o" * LARGE)
    root.mkdir()
    for name, target in (("folder", outside), ("file", outside / "file")):
        (root / name).symlink_to(target)
        files.remove(name)
    assert (outside / "file").exists() and spares(root) == [] and list(root.iterdir()) == []


@pytest.mark.parametrize(("name", "limit"), [("MAX_FILES", 2), ("MAX_BYTES", 2 * LARGE)])
def test_the_spares_are_bounded(
    files: FolderFiles, root: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: int
) -> None:
    monkeypatch.setattr(spare_files, name, limit)
    for index in range(4):
        files.write(f"old/{index}", [b"o" * LARGE], durable=False)
    files.remove("old")
    assert len(spares(root)) == 2 and not (root / "old").exists()


def test_without_the_option_nothing_is_kept_or_taken(files: FolderFiles, root: Path) -> None:
    plain = FolderFiles(root)
    removed(plain, root)
    assert not (root / "spares").exists()
    removed(files, root)
    plain.write("new/a", [b"n" * LARGE], durable=False)
    assert len(spares(root)) == 1
    plain.give_up_spares()
    plain.give_up_spares()
    assert not (root / "spares").exists()


def test_a_full_disk_costs_the_spares_and_not_the_write(
    files: FolderFiles, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed(files, root)
    write = os.write

    def full_while_there_are_spares(descriptor: int, data: memoryview) -> int:
        if (root / "spares").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full_while_there_are_spares)
    assert files.write("new/a", [b"n" * 10], durable=True) == 10
    assert spares(root) == [] and files.names("new") == ["a"]


def test_a_source_that_is_read_once_is_not_read_again(
    files: FolderFiles, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def once() -> Iterator[bytes]:
        yield b"n" * LARGE

    def full(descriptor: int, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    removed(files, root)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DiskFull):
        files.write("new/a", once(), durable=False)
    assert spares(root) == [] and files.names("new") == []


@pytest.mark.parametrize(
    ("call", "durable"), [("ftruncate", False), ("open", False), ("write", False), ("write", True), ("fsync", True)]
)
def test_a_spare_that_cannot_be_used_is_no_reason_to_fail(
    files: FolderFiles, root: Path, monkeypatch: pytest.MonkeyPatch, call: str, durable: bool
) -> None:
    inode = removed(files, root, LARGE + 1)
    real = getattr(os, call)

    def fails_on_the_spare(where: object, *arguments: object) -> object:
        if isinstance(where, int):
            status = os.fstat(where)
        elif Path(str(where)).exists():
            status = Path(str(where)).stat()
        else:
            return real(where, *arguments)
        if status.st_ino == inode:
            raise OSError(errno.EIO, "Input/output error")
        return real(where, *arguments)

    held = os.open(spares(root)[0], os.O_RDONLY)  # its number stays its own
    monkeypatch.setattr(os, call, fails_on_the_spare)
    files.write("new/a", [b"n" * LARGE], durable=durable)
    monkeypatch.undo()
    os.close(held)
    assert files.read("new/a") == b"n" * LARGE and (root / "new/a").stat().st_ino != inode
    assert spares(root) == [] and files.names("new") == ["a"]


def test_a_spare_that_got_another_name_is_not_overwritten(files: FolderFiles, root: Path, tmp_path: Path) -> None:
    removed(files, root)
    os.link(spares(root)[0], tmp_path / "backup")
    files.write("new/a", [b"n" * LARGE], durable=False)
    assert (tmp_path / "backup").read_bytes() == b"o" * LARGE and files.read("new/a") == b"n" * LARGE


def test_of_many_who_take_each_gets_a_spare_of_its_own(files: FolderFiles, root: Path) -> None:
    for index in range(6):
        files.write(f"old/{index}", [b"o" * LARGE], durable=False)
    files.remove("old")
    kept = {spare.stat().st_ino for spare in spares(root)}

    def write(index: int) -> int:
        files.write(f"new/{index}", [bytes([index]) * LARGE], durable=False)
        return (root / f"new/{index}").stat().st_ino

    with ThreadPoolExecutor(10) as pool:
        inodes = list(pool.map(write, range(10)))
    assert len(set(inodes)) == 10 and kept < set(inodes)
    assert all(files.read(f"new/{index}") == bytes([index]) * LARGE for index in range(10))


def test_an_engine_leaves_no_spares_and_clears_those_of_one_that_crashed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    root = home.environment().shared_folder.resolve()
    removed(FolderFiles(root, keep_spares=True), root)
    assert len(spares(root)) == 1
    with LocalEngine(home, "", "r-test", settings()) as engine:
        assert spares(root) == []
        engine.services.files.write("old/a", [b"o" * LARGE], durable=False)
        engine.services.files.remove("old")
        assert len(spares(root)) == 1
    assert not (root / "spares").exists()
