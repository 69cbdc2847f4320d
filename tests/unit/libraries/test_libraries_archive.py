"""The archive: the same bytes for the same files, readable by any zstd and tar, and never a file outside its folder."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_archives import FILES, Maker, archive_of_tar, files_below, tar_of

from contracts.stack_errors import ArchiveCorrupted, NoRoomForLibraries
from libraries import unpack as unpacking
from libraries.archive import decompressed
from libraries.sources import FileArchive, read_manifest
from libraries.unpack import Extractor, unpack


def unpacked(path: Path, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    archive = FileArchive(path)
    unpack(archive, read_manifest(archive), folder)
    return files_below(folder)


def test_what_was_packed_comes_out_again(make_archive: Maker, tmp_path: Path) -> None:
    made = make_archive()
    assert len(made.manifest.frames) > 3
    assert unpacked(made.path, tmp_path / "out") == FILES
    assert made.path.stat().st_size == made.manifest.archive_bytes


def test_the_same_files_give_the_same_bytes_whatever_their_times_and_the_threads(make_archive: Maker) -> None:
    one = make_archive(threads=1)
    for path in (one.path.parent / "tree-1").rglob("*"):
        os.utime(path, (1, 1))
    other = make_archive(dict(reversed(FILES.items())), threads=4)
    assert other.path.read_bytes() == one.path.read_bytes()
    assert other.manifest.digest == one.manifest.digest


def test_another_byte_or_another_lock_gives_another_digest(make_archive: Maker) -> None:
    changed = FILES | {"made_up/empty.txt": b"x"}
    digests = {make_archive().manifest.digest, make_archive(changed).manifest.digest}
    digests.add(make_archive(lock="0" * 64).manifest.digest)
    assert len(digests) == 3


def test_zstd_and_tar_open_it_too(make_archive: Maker, tmp_path: Path) -> None:
    made = make_archive()
    packed = made.path.read_bytes()
    frames = zip(made.manifest.frames, made.manifest.offsets(), strict=True)
    raw = b"".join(decompressed(frame, packed[at : at + frame.packed], "here") for frame, at in frames)
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        assert sorted(tar.getnames()) == sorted(FILES)
        assert all((member.mtime, member.uid, member.uname) == (0, 0, "") for member in tar)
    out = tmp_path / "tar"
    out.mkdir()
    done = subprocess.run(["tar", "--zstd", "-xf", made.path, "-C", out], check=False, capture_output=True)
    if b"zstd: Cannot exec" not in done.stderr:  # the program zstd is not everywhere
        assert files_below(out) == FILES


@given(cuts=st.lists(st.integers(1, 3_000), min_size=1, max_size=30))
def test_the_tar_may_come_in_stretches_of_any_size(cuts: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    files = {"a/b.txt": b"x" * 700, "c": b"", "d.bin": b"y" * 1_024, "e": b"z"}
    tar, folder = tar_of(*files.items()), tmp_path_factory.mktemp("stretches")
    extractor, at = Extractor(folder, "here"), 0
    while at < len(tar):
        for cut in cuts:
            extractor.feed(tar[at : at + cut])
            at += cut
    extractor.close()
    assert files_below(folder) == files


def link(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "member",
    [
        ("../outside.txt", b"x"),
        ("a/../../outside.txt", b"x"),
        ("/tmp/outside.txt", b"x"),  # noqa: S108
        ("a\\..\\outside.txt", b"x"),
        link("inside", tarfile.SYMTYPE, "/etc"),
        link("inside", tarfile.LNKTYPE, "/etc/passwd"),
        link("inside", tarfile.FIFOTYPE, ""),
        link("inside", tarfile.DIRTYPE, ""),
    ],
)
def test_what_leads_out_of_the_folder_or_is_no_file_is_refused(
    member: tarfile.TarInfo | tuple[str, bytes], tmp_path: Path
) -> None:
    path = archive_of_tar(tmp_path / "bad.tar.zst", tar_of(member), 1, 1)
    with pytest.raises(ArchiveCorrupted, match="plain files inside"):
        unpacked(path, tmp_path / "out")
    assert not (tmp_path / "outside.txt").exists()
    assert files_below(tmp_path / "out") == {}


def test_a_file_twice_is_refused(tmp_path: Path) -> None:
    path = archive_of_tar(tmp_path / "bad.tar.zst", tar_of(("a", b"1"), ("a", b"2")), 2, 2)
    with pytest.raises(ArchiveCorrupted, match="File exists"):
        unpacked(path, tmp_path / "out")


def test_a_tar_that_holds_more_than_the_manifest_tells_is_refused(tmp_path: Path) -> None:
    path = archive_of_tar(tmp_path / "bad.tar.zst", tar_of(("a", b"1"), ("b", b"2")), 1, 1)
    with pytest.raises(ArchiveCorrupted, match="held more than 1 bytes"):
        unpacked(path, tmp_path / "out")


@pytest.mark.parametrize("where", [0.3, 0.6, 0.95])
def test_one_flipped_bit_is_found(make_archive: Maker, tmp_path: Path, where: float) -> None:
    made = make_archive()
    data = bytearray(made.path.read_bytes())
    data[int(made.manifest.head_bytes + where * (len(data) - made.manifest.head_bytes))] ^= 1
    made.path.write_bytes(data)
    with pytest.raises(ArchiveCorrupted, match="another sha256"):
        unpacked(made.path, tmp_path / "out")


@pytest.mark.parametrize("left", [0, 5, 100, -1])
def test_an_archive_cut_off_anywhere_is_refused(make_archive: Maker, tmp_path: Path, left: int) -> None:
    made = make_archive()
    made.path.write_bytes(made.path.read_bytes()[:left])
    with pytest.raises(ArchiveCorrupted):
        unpacked(made.path, tmp_path / "out")


@pytest.mark.parametrize("content", [b"PK\x03\x04 a zip file, for instance", b"\x28\xb5\x2f\xfd" * 20, b"<html>" * 9])
def test_another_kind_of_file_is_named_as_such(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(ArchiveCorrupted, match="expected a libraries archive"):
        read_manifest(FileArchive(tmp_path / "other"))


@pytest.mark.parametrize(
    ("told", "found"),
    [(b"9948576", "a frame holds 1048576 bytes"), (b"1000000", "holds"), (b"9" * 7 + b"0" * 5, "size")],
)
def test_a_frame_of_another_size_is_refused(make_archive: Maker, tmp_path: Path, told: bytes, found: str) -> None:
    head, size = make_archive().path.read_bytes(), b"1048576"
    lies = head.replace(size, told, 1)
    length = int.from_bytes(head[4:8], "little") + len(told) - len(size)
    (tmp_path / "lies").write_bytes(lies[:4] + length.to_bytes(4, "little") + lies[8:])
    with pytest.raises(ArchiveCorrupted, match=found):
        unpacked(tmp_path / "lies", tmp_path / "out")


def test_too_small_a_disk_is_told_before_anything_is_written(
    make_archive: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_archive()
    wanted = made.manifest.contents.bytes + unpacking.SPARE_BYTES

    class Usage:
        free = wanted - 1

    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda folder: Usage)
    with pytest.raises(NoRoomForLibraries, match=f"expected {wanted / 1e6:,.0f} MB"):
        unpacked(made.path, tmp_path / "out")
    assert files_below(tmp_path / "out") == {}


def test_an_unpacking_that_was_killed_goes_on_where_it_was(make_archive: Maker, tmp_path: Path) -> None:
    made, folder = make_archive(), tmp_path / "out"
    assert unpacked(made.path, folder) == FILES
    whole = folder / "made_up/deep/down/data.bin"
    inode = whole.stat().st_ino
    (folder / "made_up/__init__.py").unlink()
    (folder / "made_up/empty.txt.part").write_bytes(b"torn")
    (folder / "made_up/empty.txt").unlink()
    archive = FileArchive(made.path)
    unpack(archive, read_manifest(archive), folder, again=True)
    assert files_below(folder) == FILES
    assert whole.stat().st_ino == inode  # not written again
