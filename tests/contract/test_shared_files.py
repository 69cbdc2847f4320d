"""What every implementation of the shared files promises."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import DiskFull, HomeNotWritable, InvalidMessage, TornFile
from contracts.ports import SharedFiles
from fakes.memory_files import MemoryFiles
from stores import spare_files
from stores.shared_files import FolderFiles


@pytest.fixture(params=["folder", "folder with spares and views", "memory", "memory with spares and views"])
def files(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SharedFiles:
    monkeypatch.setattr(spare_files, "MIN_BYTES", 1)
    place, _, spares = request.param.partition(" ")
    on_one_machine = bool(spares)
    if place == "folder":
        return FolderFiles(tmp_path / "shared", keep_spares=on_one_machine, give_views=on_one_machine)
    return MemoryFiles(keep_spares=on_one_machine, gives_views=on_one_machine)


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_read_back_as_it_was_written(files: SharedFiles, durable: bool) -> None:
    assert files.write("runs/a/b.npy", [b"head", np.arange(3, dtype="<u2")], durable=durable) == 10
    assert files.read("runs/a/b.npy") == b"head\x00\x00\x01\x00\x02\x00"


def test_a_stretch_of_a_file_fills_a_buffer(files: SharedFiles) -> None:
    files.write("a", [bytes(range(10))], durable=False)
    buffer = np.zeros(2, dtype="<u2")
    files.read_into("a", 3, buffer)
    assert buffer.tobytes() == bytes([3, 4, 5, 6])


def test_an_open_file_is_read_in_any_order_and_outlives_its_name(files: SharedFiles) -> None:
    files.write("a", [bytes(range(10))], durable=False)
    buffer = bytearray(2)
    with files.open("a") as file:
        files.remove("a")
        for offset in (8, 0):
            file.read_into(offset, buffer)
            assert bytes(buffer) == bytes([offset, offset + 1])
        with pytest.raises(TornFile, match="byte 10"):
            file.read_into(9, buffer)
    with pytest.raises(TornFile):
        files.open("a")


@pytest.mark.parametrize(("offset", "size"), [(0, 10_000), (3, 9_997), (8_192, 100), (4_095, 2), (9_999, 1)])
def test_a_view_shows_what_would_be_read(files: SharedFiles, offset: int, size: int) -> None:
    content = np.random.default_rng(1).bytes(10_000)
    files.write("a", [content], durable=False)
    with files.open("a") as file:
        view = file.view(offset, size)
        assert view is None or (view.readonly and bytes(view) == content[offset : offset + size])


def test_nothing_beyond_a_files_end_comes_into_view(files: SharedFiles) -> None:
    files.write("a", [bytes(10)], durable=False)
    with files.open("a") as file:
        assert file.view(10, 0) in (None, b"")
        for offset, size in ((0, 11), (10, 1), (9_000, 1)):
            try:
                assert file.view(offset, size) is None
            except TornFile as error:
                assert "byte 10" in str(error)


def test_writing_again_replaces_the_whole_file(files: SharedFiles) -> None:
    files.write("a", [b"long content"], durable=False)
    files.write("a", [b"short"], durable=True)
    assert files.read("a") == b"short"
    assert files.names("runs") == []


def test_a_missing_file_is_a_torn_one(files: SharedFiles) -> None:
    with pytest.raises(TornFile, match="E202"):
        files.read("nothing")
    with pytest.raises(TornFile):
        files.read_into("nothing", 0, bytearray(1))


def test_a_short_file_is_a_torn_one(files: SharedFiles) -> None:
    files.write("a", [b"abc"], durable=False)
    with pytest.raises(TornFile, match="byte 3"):
        files.read_into("a", 1, bytearray(3))


def test_names_are_sorted_and_exist(files: SharedFiles) -> None:
    for name in ("b", "a", "c/d"):
        files.write(f"folder/{name}", [b""], durable=False)
    assert files.names("folder") == ["a", "b", "c"]
    assert files.exists("folder/c/d") and files.exists("folder/c") and not files.exists("folder/d")


def test_files_and_folders_are_removed_once_or_twice(files: SharedFiles) -> None:
    files.write("folder/a", [b"1"], durable=False)
    files.write("folder/b/c", [b"2"], durable=False)
    for _ in range(2):
        files.remove("folder/a")
    assert files.names("folder") == ["b"]
    for _ in range(2):
        files.remove("folder")
    assert not files.exists("folder")


@pytest.mark.parametrize("durable", [True, False])
def test_nothing_is_left_of_a_file_that_was_removed_before(files: SharedFiles, durable: bool) -> None:
    for count in (10, 10, 6, 11, 3, 40):
        files.write("folder/old/a", [b"x" * 10], durable=not durable)
        files.write("folder/old/b", [b"y" * 10], durable=durable)
        files.remove("folder/old")
        assert files.names("folder") == []
        for name in ("a", "b", "c"):
            assert files.write(f"new/{name}", [name.encode(), b"z" * count], durable=durable) == count + 1
        files.remove("new/b")
        assert files.names("new") == ["a", "c"]
        assert [files.read(f"new/{name}") for name in "ac"] == [b"a" + b"z" * count, b"c" + b"z" * count]
        files.remove("new")


def test_a_write_whose_source_gives_up_leaves_what_was_there(files: SharedFiles) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise TornFile("source", "it ends too early")

    files.write("folder/a", [b"old"], durable=False)
    for path in ("folder/a", "folder/b"):
        with pytest.raises(TornFile, match="too early"):
            files.write(path, broken(), durable=True)
    assert files.names("folder") == ["a"] and files.read("folder/a") == b"old"


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "", "a\0b", "..\\x"])
def test_no_path_leaves_the_folder(files: SharedFiles, path: str) -> None:
    for use in (files.read, files.exists, files.names, files.remove):
        with pytest.raises(InvalidMessage, match="E109"):
            use(path)
    with pytest.raises(InvalidMessage):
        files.write(path, [b"x"], durable=False)


class TestFolderAlone:
    """What only a real folder can do."""

    def test_files_are_the_owners_alone(self, tmp_path: Path) -> None:
        FolderFiles(tmp_path).write("folder/a", [b"1"], durable=False)
        assert (tmp_path / "folder" / "a").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700

    def test_a_failed_write_leaves_nothing_behind(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(descriptor: int, data: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(DiskFull, match="E303"):
            FolderFiles(tmp_path).write("folder/a", [b"1"], durable=False)
        assert list((tmp_path / "folder").iterdir()) == []

    def test_a_file_where_a_folder_should_be_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "folder").write_text("in the way")
        with pytest.raises(HomeNotWritable, match="E302"):
            FolderFiles(tmp_path).write("folder/a", [b"1"], durable=False)
