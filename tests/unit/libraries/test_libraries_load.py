"""Loading: once a process, from a file, the bucket or the shared files; refused where the libraries do not belong."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from made_archives import FILES, Made, Maker, files_below

from contracts.errors import LambdafitError
from contracts.ports import ObjectFacts, Objects
from contracts.stack_errors import (
    ArchiveCorrupted,
    ArchiveNotFound,
    ArchiveUnsuitable,
    LibrariesOutdated,
    NoRoomForLibraries,
    ObjectNotFound,
    ObjectsForbidden,
)
from fakes.folder_objects import FolderObjects
from libraries import folders, load, unpack
from libraries.install import install
from libraries.sources import POINTER, archive_key

pytestmark = pytest.mark.usefixtures("fresh_process")


def bucket_with(tmp_path: Path, made: Made, **pointer: Any) -> FolderObjects:
    objects = FolderObjects(tmp_path / "bucket")
    objects.write_file(archive_key(made.manifest.digest), made.path)
    objects.write(POINTER, json.dumps({"digest": made.manifest.digest} | pointer).encode())
    return objects


def no_bucket() -> Objects:
    raise AssertionError("the bucket was asked for")


def places(tmp_path: Path, source: str, objects: Objects | None = None) -> load.Places:
    return load.Places(
        source=source,
        shared=tmp_path / "shared",
        objects=(lambda: objects) if objects else no_bucket,
        temporary=tmp_path / "temporary",
    )


def test_installed_libraries_need_nothing(tmp_path: Path) -> None:
    assert load.ensure(places(tmp_path, "")).digest == "installed"
    assert not (tmp_path / "temporary").exists()


def test_an_archive_is_unpacked_once_and_imported(make_archive: Maker, tmp_path: Path) -> None:
    made = make_archive()
    where = places(tmp_path, str(made.path))
    loaded = load.ensure(where)
    assert loaded.unpacked_bytes == made.manifest.contents.bytes == sum(map(len, FILES.values()))
    assert loaded.folder == tmp_path / "temporary" / made.manifest.digest
    assert importlib.import_module("made_up").answer == 42
    assert load.ensure(where) is loaded
    assert sys.path.count(str(loaded.folder)) == 1


def test_the_next_process_finds_it_unpacked(
    make_archive: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = places(tmp_path, str(make_archive().path))
    load.ensure(where)
    monkeypatch.setattr(load, "_loaded", None)
    assert load.ensure(where).unpacked_bytes == 0


def test_from_the_bucket(make_archive: Maker, tmp_path: Path) -> None:
    made = make_archive()
    loaded = load.ensure(places(tmp_path, "s3", bucket_with(tmp_path, made)))
    assert loaded.digest == made.manifest.digest
    assert loaded.folder is not None and files_below(loaded.folder) == FILES


def test_from_the_shared_files_where_they_were_installed(make_archive: Maker, tmp_path: Path) -> None:
    made = make_archive()
    install(bucket_with(tmp_path, made), tmp_path / "shared")
    loaded = load.ensure(places(tmp_path, "efs"))
    assert loaded.folder == tmp_path / "shared" / "libraries" / made.manifest.digest
    assert files_below(loaded.folder) == FILES
    assert loaded.unpacked_bytes == 0


def test_a_probe_learns_which_libraries_it_would_be(make_archive: Maker, tmp_path: Path) -> None:
    made = make_archive()
    objects = bucket_with(tmp_path, made)
    assert load.current_digest(places(tmp_path, "")) == "installed"
    assert load.current_digest(places(tmp_path, "s3", objects)) == made.manifest.digest
    assert load.current_digest(places(tmp_path, str(made.path))) == made.manifest.digest
    assert load.current_digest(places(tmp_path, "efs")) == "none"
    install(objects, tmp_path / "shared")
    assert load.current_digest(places(tmp_path, "efs")) == made.manifest.digest
    assert load.current_digest(places(tmp_path, str(tmp_path / "no file"))) == "none"
    assert not (tmp_path / "temporary").exists()


@pytest.mark.parametrize("source", ["s3", "efs", "/no/such/archive.tar.zst"])
def test_nothing_there_is_an_error_that_says_what_to_do(tmp_path: Path, source: str) -> None:
    with pytest.raises(ArchiveNotFound) as caught:
        load.ensure(places(tmp_path, source, FolderObjects(tmp_path / "empty")))
    assert "lambdafit deploy" in caught.value.advice_given or "libraries.build" in caught.value.advice_given


class Unlisted(FolderObjects):
    """As S3 answers those who may not list the bucket: what is not there is forbidden."""

    def head(self, key: str) -> ObjectFacts:
        try:
            return super().head(key)
        except ObjectNotFound as error:
            raise ObjectsForbidden(key, "403") from error


def test_what_s3_will_not_say_is_missing_counts_as_missing(make_archive: Maker, tmp_path: Path) -> None:
    objects = Unlisted(tmp_path / "bucket")
    with pytest.raises(ArchiveNotFound, match="lambdafit deploy"):
        load.ensure(places(tmp_path, "s3", objects))
    objects.write(POINTER, b'{"digest": "abc"}')
    with pytest.raises(ArchiveNotFound):
        load.ensure(places(tmp_path, "s3", objects))


def test_a_pointer_to_nothing_or_to_another_archive_is_an_error(make_archive: Maker, tmp_path: Path) -> None:
    made, other = make_archive(), make_archive({"a": b"b"})
    with pytest.raises(ArchiveNotFound):
        load.ensure(places(tmp_path, "s3", bucket_with(tmp_path, made, digest="abc")))
    objects = bucket_with(tmp_path, made)
    objects.write_file(archive_key(made.manifest.digest), other.path)
    with pytest.raises(ArchiveCorrupted, match=f"its digest is {other.manifest.digest}"):
        load.ensure(places(tmp_path, "s3", objects))


@pytest.mark.parametrize("pointer", [b"", b"{}", b"[1]", b'{"digest": 5}', b'{"digest": "../../x"}'])
def test_a_damaged_pointer_is_an_error(tmp_path: Path, pointer: bytes) -> None:
    objects = FolderObjects(tmp_path / "bucket")
    objects.write(POINTER, pointer)
    with pytest.raises(ArchiveCorrupted):
        load.ensure(places(tmp_path, "s3", objects))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"architecture": "riscv64"}, ArchiveUnsuitable),
        ({"python": "3.9"}, ArchiveUnsuitable),
        ({"lock": "0" * 64}, LibrariesOutdated),
    ],
)
def test_libraries_of_another_machine_or_lock_are_not_even_unpacked(
    make_archive: Maker, tmp_path: Path, changes: dict[str, str], error: type[LambdafitError]
) -> None:
    made = make_archive(**changes)
    with pytest.raises(error):
        load.ensure(places(tmp_path, str(made.path)))
    with pytest.raises(error):
        install(bucket_with(tmp_path, made), tmp_path / "shared")
    assert not (tmp_path / "temporary").exists()
    assert not (tmp_path / "shared" / "libraries" / made.manifest.digest).exists()


def test_a_damaged_archive_leaves_nothing_and_a_whole_one_is_taken_next(make_archive: Maker, tmp_path: Path) -> None:
    made = make_archive()
    data = made.path.read_bytes()
    made.path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    where = places(tmp_path, str(made.path))
    with pytest.raises(ArchiveCorrupted):
        load.ensure(where)
    assert folders.all_digests(tmp_path / "temporary") == set()
    made.path.write_bytes(data)
    assert load.ensure(where).unpacked_bytes > 0


def test_no_room_leaves_nothing(make_archive: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: Any) -> int:
        raise OSError(28, "No space left on device")

    where = places(tmp_path, str(make_archive().path))
    monkeypatch.setattr(unpack.os, "write", full)
    with pytest.raises(NoRoomForLibraries, match="No space left"):
        load.ensure(where)
    assert folders.all_digests(tmp_path / "temporary") == set()


def test_many_threads_unpack_once(make_archive: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where, count = places(tmp_path, str(make_archive().path)), []
    real = load.unpack
    monkeypatch.setattr(load, "unpack", lambda *given: (count.append(1), real(*given)))
    found: list[load.Loaded] = []
    threads = [threading.Thread(target=lambda: found.append(load.ensure(where))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(count) == 1 and len({id(one) for one in found}) == 1


def _load_in_a_process(where: tuple[str, Path], answers: Any) -> None:
    source, folder = where
    load._loaded = None
    answers.put(load.ensure(places(folder, source)).unpacked_bytes)


def test_many_processes_unpack_once(make_archive: Maker, tmp_path: Path) -> None:
    made = make_archive()
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    children = [
        context.Process(target=_load_in_a_process, args=((str(made.path), tmp_path), answers)) for _ in range(4)
    ]
    for child in children:
        child.start()
    unpacked = sorted(answers.get(timeout=60) for _ in children)
    for child in children:
        child.join()
    assert unpacked == [0, 0, 0, made.manifest.contents.bytes]


def test_what_a_killed_process_left_is_replaced(make_archive: Maker, tmp_path: Path) -> None:
    """It is killed with the lock in its hands, a file half written."""
    made = make_archive()
    program = (
        "import sys; from pathlib import Path; from libraries import folders\n"
        "def make(part):\n"
        "    (part / 'half').write_bytes(b'x'); print('making', flush=True); sys.stdin.read()\n"
        f"folders.hold(Path({str(tmp_path / 'temporary')!r}), {made.manifest.digest!r}, make)\n"
    )
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == b"making\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert (tmp_path / "temporary" / f"{made.manifest.digest}.part" / "half").exists()
    loaded = load.ensure(places(tmp_path, str(made.path)))
    assert loaded.folder is not None and files_below(loaded.folder) == FILES
    assert not (tmp_path / "temporary" / f"{made.manifest.digest}.part").exists()


def test_older_libraries_make_room_unless_somebody_uses_them(
    make_archive: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, made = tmp_path / "temporary", make_archive()
    for digest in ("unused", "halfmade"):
        folders.hold(root, digest, lambda part: None).release()
    (root / "halfmade").rename(root / "halfmade.part")
    held = folders.hold(root, "used", lambda part: None)
    load.ensure(places(tmp_path, str(made.path)))
    assert folders.all_digests(root) == {"used", made.manifest.digest}
    held.release()
    assert folders.remove_others(root, made.manifest.digest) == ["used"]


# --- onto the shared files -------------------------------------------------------------------------------------


def test_installing_again_does_nothing(make_archive: Maker, tmp_path: Path) -> None:
    made = make_archive()
    objects, shared = bucket_with(tmp_path, made), tmp_path / "shared"
    first, second = install(objects, shared), install(objects, shared)
    assert (first.unpacked, second.unpacked) == (True, False)
    assert (second.digest, second.files, second.bytes) == (made.manifest.digest, 4, sum(map(len, FILES.values())))
    assert json.loads((shared / POINTER).read_text()) == {"digest": made.manifest.digest}


def test_installing_goes_on_after_a_time_out(
    make_archive: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, shared = make_archive(), tmp_path / "shared"
    objects = bucket_with(tmp_path, made)

    class TimeOut(BaseException):
        pass

    real, part = unpack.Extractor._begin, shared / "libraries" / f"{made.manifest.digest}.part"

    def dies_at_the_third(extractor: unpack.Extractor, header: bytes) -> None:
        if extractor.files == 2:
            raise TimeOut
        real(extractor, header)

    with monkeypatch.context() as patched:
        patched.setattr(unpack.Extractor, "_begin", dies_at_the_third)
        with pytest.raises(TimeOut):
            install(objects, shared)
    written = {path: path.stat().st_ino for path in part.rglob("*") if path.is_file()}
    assert len(written) == 2
    assert load.current_digest(places(tmp_path, "efs")) == "none"
    install(objects, shared)
    folder = shared / "libraries" / made.manifest.digest
    assert files_below(folder) == FILES
    assert all((folder / path.relative_to(part)).stat().st_ino == inode for path, inode in written.items())


def test_older_libraries_go_when_asked_and_unused_for_a_day(make_archive: Maker, tmp_path: Path) -> None:
    old, new, shared = make_archive(), make_archive({"a": b"b"}), tmp_path / "shared"
    install(bucket_with(tmp_path, old), shared)
    objects = bucket_with(tmp_path, new)
    assert install(objects, shared).removed == ()
    assert install(objects, shared, remove_others=True).removed == ()
    used_at = (shared / "libraries" / old.manifest.digest / load.NOTE).stat().st_mtime
    later = install(objects, shared, remove_others=True, now=lambda: used_at + 86_401)
    assert later.removed == (old.manifest.digest,)
    assert folders.all_digests(shared / "libraries") == {new.manifest.digest}


def test_installing_takes_the_digest_that_it_was_told(make_archive: Maker, tmp_path: Path) -> None:
    made = make_archive()
    with pytest.raises(ArchiveNotFound, match="there is no such object"):
        install(bucket_with(tmp_path, made), tmp_path / "shared", wanted="abc")
    assert install(bucket_with(tmp_path, made), tmp_path / "shared", wanted=made.manifest.digest).unpacked


def test_a_folder_without_its_note_is_not_trusted(make_archive: Maker, tmp_path: Path) -> None:
    made = make_archive()
    install(bucket_with(tmp_path, made), tmp_path / "shared")
    (tmp_path / "shared" / "libraries" / made.manifest.digest / load.NOTE).unlink()
    with pytest.raises(ArchiveCorrupted, match=load.NOTE):
        load.ensure(places(tmp_path, "efs"))
