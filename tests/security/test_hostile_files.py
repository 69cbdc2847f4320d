"""Foreign files: whatever they hold, a reader returns or raises a numbered error, at once and with little memory."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xxhash

from contracts.errors import (
    DataCorrupted,
    InvalidMessage,
    InvalidRunId,
    RecipeFailed,
    StoreCorrupted,
    TaskFailed,
    TornFile,
)
from contracts.function_errors import error_in_answer
from contracts.identifiers import check_relative_path, check_run_id
from contracts.messages import parse_task
from contracts.records import FileRef, Run
from contracts.stack_errors import ArchiveCorrupted
from fakes.memory_files import MemoryFiles
from libraries.archive import Frame, decompressed, parse_manifest
from libraries.load import NOTE, check, read_note
from libraries.sources import pointed
from libraries.unpack import Extractor
from security import hostile_bytes as hostile
from stores.dynamodb_items import decode
from training.datasets.folder import NAMES, folder_source
from training.saved_model import LARGEST_CONFIG_BYTES, read_config, recipe_of_model
from training.vector_files import read_tensors, read_vector

NPY = {
    "a header that ends in the middle": hostile.npy("{'descr': '<f4', 'shape': (((((("),
    "brackets without end": hostile.npy_of("'<f4'", "(" * 5_000 + ")" * 5_000),
    "4 TiB": hostile.npy_of("'<f4'", f"({1 << 40},)"),
    "more values than a number of 64 bits counts": hostile.npy_of("'<f4'", f"({10**30},)"),
    "a negative length": hostile.npy_of("'<f4'", "(-4,)", bytes(16)),
    "a length that is true": hostile.npy_of("'<f4'", "(True,)", bytes(4)),
    "values of no bytes": hostile.npy_of("'|V0'", f"({1 << 40},)"),
    "Python objects": hostile.npy_of("'|O'", "(1,)", b"\x80\x04N."),
    "a type that is a dictionary": hostile.npy_of("{'a': 1}", "(1,)"),
    "a type that is deep": hostile.npy_of("[" * 900 + "]" * 900, "(1,)"),
    "a call": hostile.npy_of("'<f4'", "(__import__('os').getpid(),)"),
    "a zip archive": hostile.zipped({"x_train.npy": b"x"}),
    "nothing": b"",
}


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    for name in NAMES:
        np.save(tmp_path / f"{name}.npy", np.zeros(4, np.float32))
    return tmp_path


@pytest.mark.parametrize("content", NPY.values(), ids=NPY)
def test_a_folders_array(arrays: Path, content: bytes) -> None:
    (arrays / "x_train.npy").write_bytes(content)
    with pytest.raises(DataCorrupted):
        folder_source(arrays, "leaves").load(arrays)


@pytest.mark.parametrize("content", NPY.values(), ids=NPY)
def test_an_archives_array(tmp_path: Path, content: bytes) -> None:
    members = {f"{name}.npy": content for name in NAMES}
    (tmp_path / "a.npz").write_bytes(hostile.zipped(members, zipfile.ZIP_DEFLATED))
    with pytest.raises(DataCorrupted):
        folder_source(tmp_path / "a.npz", "leaves").load(tmp_path)


def test_a_member_that_lies_about_its_size(tmp_path: Path) -> None:
    shape = hostile.npy_of("'<f4'", f"({1 << 29},)")
    lies = hostile.zipped({f"{name}.npy": shape for name in NAMES})
    (tmp_path / "a.npz").write_bytes(hostile.patched_zip(lies, 22, 24, (1 << 31).to_bytes(4, "little")))
    with pytest.raises(DataCorrupted, match="says that it has"):
        folder_source(tmp_path / "a.npz", "leaves").load(tmp_path)


@pytest.mark.parametrize("names", [b"\xff\xfe", b"cat\n\x1b]0;owned\x07\n", b"x" * (2 << 20)])
def test_class_names(arrays: Path, names: bytes) -> None:
    (arrays / "class_names.txt").write_bytes(names)
    with pytest.raises(DataCorrupted, match="class_names"):
        folder_source(arrays, "leaves")


MODELS = {
    "no zip archive": b"PK\x03\x04",
    "a configuration that is a list": hostile.keras_file([]),
    "a compile_config that is a list": hostile.keras_file({"compile_config": [1]}),
    "a configuration without an end": hostile.keras_file(hostile.DEEP),
    "an unknown way of packing": hostile.patched_zip(hostile.keras_file({}), 8, 10, b"\x4d"),
    "a password": hostile.patched_zip(hostile.keras_file({}), 6, 8, b"\x01"),
    "a way out": hostile.keras_file(hostile.COMPILED, {"../../evil": b"x"}),
    "a way out for Windows": hostile.keras_file(hostile.COMPILED, {"..\\evil": b"x"}),
    "an absolute path": hostile.keras_file(hostile.COMPILED, {"/etc/evil": b"x"}),
    "a link": hostile.linked_member("assets", "/etc"),
    "a bomb": hostile.keras_file(hostile.COMPILED, {"a.h5": bytes(200 << 20)}, zipfile.ZIP_DEFLATED),
    "a large configuration": hostile.keras_file(b" " * (LARGEST_CONFIG_BYTES + 1), kind=zipfile.ZIP_DEFLATED),
}  # fmt: skip


@pytest.mark.parametrize("content", MODELS.values(), ids=MODELS)
def test_a_saved_model(content: bytes) -> None:
    with pytest.raises(RecipeFailed, match="is no Keras model"):
        read_config(content, "model.keras")
    with pytest.raises(RecipeFailed, match="is no Keras model"):
        recipe_of_model(name="m", dataset="digits", folder="", model=base64.b64encode(content).decode())


@pytest.mark.parametrize("rate", [10**400, float("nan"), {}, None])
def test_a_learning_rate_that_is_none(rate: object) -> None:
    config = {"compile_config": {"optimizer": {"config": {"learning_rate": rate}}, "loss": "mse"}}
    model = base64.b64encode(hostile.keras_file(config)).decode()
    assert recipe_of_model(name="m", dataset="digits", folder="", model=model).settings == {}


TENSORS = {
    "too short": b"abc",
    "a header of an exabyte": hostile.tensors(b"{}", told_bytes=1 << 60),
    "a header without an end": hostile.tensors(hostile.DEEP),
    "a type that NumPy has not": hostile.tensors(hostile.tensor("BF16", "[1]", 0, 2), b"ab"),
    "a small float": hostile.tensors(hostile.tensor("F8_E4M3", "[2]", 0, 2), b"ab"),
    "a shape that overflows": hostile.tensors(hostile.tensor("F32", f"[{1 << 62},8]", 0, 4), bytes(4)),
    "offsets beyond the end": hostile.tensors(hostile.tensor("F32", "[4]", 0, 16), bytes(4)),
}


@pytest.mark.parametrize("content", TENSORS.values(), ids=TENSORS)
def test_named_tensors(content: bytes) -> None:
    files = MemoryFiles()
    files.write("t", [content], durable=False)
    digest = xxhash.xxh3_128_hexdigest(content)
    with pytest.raises(TornFile):
        read_tensors(files, FileRef(path="t", bytes=len(content), count=len(content), parts=(digest,)))


@pytest.mark.parametrize(
    ("dtype", "count"), [("object", 3), ("bogus", 3), ("float32", 1 << 62), ("float32", -3), ("f4,(9999999,)f4", 99)]
)
def test_a_report_of_an_impossible_vector(dtype: str, count: int) -> None:
    with pytest.raises(TornFile):
        read_vector(MemoryFiles(), [FileRef(path="v", bytes=140, count=count, dtype=dtype, parts=("a",))])


@pytest.mark.parametrize(
    "content",
    [hostile.manifest(frames=[["a", "b", "c"]]), hostile.manifest(frames=[[1.5, 2, ""]]), hostile.manifest(bytes="9"),
     hostile.manifest(frames=[[1, -1, ""]]), hostile.DEEP, b"\xff", b"null"],
)  # fmt: skip
def test_a_manifest(content: bytes) -> None:
    with pytest.raises(ArchiveCorrupted):
        parse_manifest(content, "archive")


def test_a_frame_of_few_bytes_that_tells_of_many() -> None:
    bomb = hostile.zstd_bomb(1 << 36)
    with pytest.raises(ArchiveCorrupted, match="holds 68719476736 bytes"):
        decompressed(Frame(len(bomb), 10, hashlib.sha256(bomb).hexdigest()), bomb, "archive")


@pytest.mark.parametrize(
    "header",
    [hostile.tar_header(size=hostile.NEGATIVE), hostile.tar_header("../a"), hostile.tar_header("/a"),
     hostile.tar_header("a", kind=b"2"), hostile.tar_header("a", kind=b"S"), hostile.tar_header("a\\b")],
)  # fmt: skip
def test_a_tar(tmp_path: Path, header: bytes) -> None:
    """A negative size had it going round for ever."""
    with pytest.raises(ArchiveCorrupted):
        Extractor(tmp_path, "archive").feed(header + bytes(1024))
    assert list(tmp_path.rglob("*")) == []


def test_a_tar_that_goes_through_a_link(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "a").symlink_to(outside / "a")
    with pytest.raises(OSError, match=r"symbolic links|exists"):
        Extractor(inside, "archive", again=False).feed(hostile.tar_header("a"))
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("content", [hostile.DEEP, b'{"digest": "../../x"}', '{"digest": "²³"}'.encode()])
def test_a_pointer(content: bytes) -> None:
    with pytest.raises(ArchiveCorrupted):
        pointed(lambda: content, "current.json")


@pytest.mark.parametrize("changes", [{"lock": 5}, {"packages": []}, {"bytes": "9"}, {"python": None}])
def test_a_note_in_unpacked_libraries(tmp_path: Path, changes: dict[str, object]) -> None:
    """A lock that was a number had `check` fail without a number of its own."""
    (tmp_path / NOTE).write_bytes(hostile.note(**changes))
    with pytest.raises(ArchiveCorrupted, match=NOTE):
        check(read_note(tmp_path), str(tmp_path))


def test_messages_and_answers() -> None:
    for event in ([1], None, {"workerno": 0, "epochsdone": int("9" * 4300)}, {"workerno": "0"}, {"run_id": ["r-"]}):
        with pytest.raises((InvalidMessage, InvalidRunId)):
            parse_task(event)  # type: ignore[arg-type]
    assert isinstance(error_in_answer(hostile.DEEP, "train"), TaskFailed)


@pytest.mark.parametrize("data", [hostile.DEEP.decode(), '{"settings":' + "[" * 100_000, "\ud800", 5])
def test_an_item_of_the_table(data: object) -> None:
    with pytest.raises(StoreCorrupted):
        decode({"pk": {"S": "a"}, "sk": {"S": "b"}, "data": {"S": data}}, Run)  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "path", ["", ".", "./.", "/", "..", "a/../../b", "a\0b", "a\nb", "a\\b", "a\ud800", "a" * 256, "a/" * 600, 7]
)
def test_paths_that_are_none(path: object) -> None:
    with pytest.raises(InvalidMessage):
        check_relative_path(path)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["r-abcd\n", "r-ABCD", "r-٣٤٥٦", "../r-abcd", "r-abcd/..", "r-" + "a" * 33, 5, None])
def test_run_ids_that_are_none(name: object) -> None:
    with pytest.raises(InvalidRunId):
        check_run_id(name)  # type: ignore[arg-type]
