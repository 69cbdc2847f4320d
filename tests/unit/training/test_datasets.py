"""Data sets: found and checked, prepared once, and read back with every byte checked."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from contracts.errors import DataCorrupted, DataNotFound, RecipeFailed
from fakes.memory_files import MemoryFiles
from training.datasets import fashion_mnist
from training.datasets.fetch import check_source
from training.datasets.prepare import SPLITS, prepare_dataset
from training.datasets.prepared import load_prepared
from training.datasets.source import Arrays, DataFile, DataSource, builtin_sources, source_named

NOWHERE = Path("/nowhere")


def small_arrays(folder: Path) -> Arrays:
    """100 + 20 examples, each equal to its own row number."""
    x = np.arange(100, dtype=np.float32)[:, None]
    return Arrays(x, np.arange(100) % 5, x[:20], np.arange(20) % 5)


SMALL = DataSource(name="small", load=small_arrays, input_shape=(1,), class_names=tuple("abcde"))


def prepare(source: DataSource, files: MemoryFiles, data: Path | None = None, **more: Any) -> dict[str, Any]:
    return prepare_dataset(source, files, data_folder=data, cache_folder=NOWHERE, **more)


# --- files -------------------------------------------------------------------------------------------------


@pytest.fixture
def published(tmp_path: Path) -> DataSource:
    """A source with one published file, which lies in a user's data folder."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x.bin").write_bytes(b"0123456789")
    file = DataFile(name="x.bin", sha256=hashlib.sha256(b"0123456789").hexdigest(), bytes=10)
    return DataSource(name="mine", load=small_arrays, files=(file,), base_url="http://127.0.0.1:9/")


def test_the_users_folder_comes_first_then_the_cache(published: DataSource, tmp_path: Path) -> None:
    assert check_source(published, tmp_path, NOWHERE) == tmp_path / "mine"
    assert check_source(published, None, tmp_path) == tmp_path / "mine"
    assert check_source(published, NOWHERE, tmp_path) == tmp_path / "mine"


@pytest.mark.parametrize(
    ("content", "message"), [(b"012345678", "9 bytes, expected 10"), (b"012345678x", "its sha256")]
)
def test_a_changed_or_cut_off_file_is_refused(
    published: DataSource, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "mine" / "x.bin").write_bytes(content)
    with pytest.raises(DataCorrupted, match=f"x.bin: {message}"):
        check_source(published, tmp_path, NOWHERE)


def test_a_missing_file_without_network_says_what_and_where(published: DataSource, tmp_path: Path) -> None:
    with pytest.raises(
        DataNotFound, match=r"x\.bin is not in .*user/mine or .*cache/mine, and http://127\.0\.0\.1:9/x\.bin"
    ):
        check_source(published, tmp_path / "user", tmp_path / "cache")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server on this machine that serves `tmp_path`."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as listening:
        thread = Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/"
        listening.shutdown()
        thread.join()


def test_a_missing_file_is_downloaded_once(published: DataSource, tmp_path: Path, server: str) -> None:
    source = replace(published, base_url=f"{server}mine/")
    cache = tmp_path / "cache"
    assert check_source(source, tmp_path / "user", cache) == cache / "mine"
    assert [file.name for file in (cache / "mine").iterdir()] == ["x.bin"]
    (tmp_path / "mine" / "x.bin").unlink()
    assert check_source(source, None, cache) == cache / "mine"


def test_a_download_of_something_else_is_refused(published: DataSource, tmp_path: Path, server: str) -> None:
    (tmp_path / "mine" / "x.bin").write_bytes(b"other")
    with pytest.raises(DataCorrupted, match=r"mine/x\.bin"):
        check_source(replace(published, base_url=f"{server}mine/"), None, tmp_path / "cache")
    with pytest.raises(DataNotFound, match="HTTPError"):
        check_source(replace(published, base_url=f"{server}elsewhere/"), None, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.bin"))


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(DataNotFound, match="expected one of digits, fashion-mnist"):
        source_named("mnist")
    assert [source_named(name).name for name in builtin_sources()] == list(builtin_sources())


def idx(values: bytes, dimensions: tuple[int, ...], magic: int | None = None) -> bytes:
    code = 0x0800 | len(dimensions) if magic is None else magic
    content = struct.pack(f">{1 + len(dimensions)}I", code, *dimensions) + values
    return gzip.compress(content, mtime=0)  # without the time, each process has the same names of tests


def test_idx_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(idx(bytes(range(12)), (2, 2, 3)))
    assert fashion_mnist.read_idx(path, 3).tolist() == np.arange(12).reshape(2, 2, 3).tolist()


@pytest.mark.parametrize(
    "content",
    [
        idx(bytes(11), (2, 2, 3)),
        idx(bytes(13), (2, 2, 3)),
        idx(bytes(12), (2, 2, 3), magic=0x0D03),
        idx(bytes(12), (12,)),
        idx(bytes(12), (2, 2, 3))[:-9],
        gzip.compress(b"\0\0", mtime=0),
        b"not gzip at all",
        b"",
    ],
)
def test_broken_idx_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(content)
    with pytest.raises(DataCorrupted, match=r"x\.gz"):
        fashion_mnist.read_idx(path, 3)


@pytest.mark.parametrize(
    "shape",
    [
        (1 << 12, 1 << 10, 1 << 10),  # no file of these bytes can fill it
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
    ],
)
def test_an_idx_header_that_promises_too_much_is_refused_before_memory_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(idx(bytes(12), shape))
    allocated: list[int] = []
    monkeypatch.setattr(fashion_mnist.np, "empty", lambda count, **_: allocated.append(count))
    with pytest.raises(DataCorrupted, match="at most"):
        fashion_mnist.read_idx(path, 3)
    assert not allocated


def test_an_idx_file_is_not_unpacked_beyond_what_its_header_promises(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(idx(bytes(64 << 20), (2, 2, 3)))
    tracemalloc.start()
    try:
        with pytest.raises(DataCorrupted, match="more than 12 values"):
            fashion_mnist.read_idx(path, 3)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_an_idx_file_larger_than_any_data_set_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(idx(bytes(12), (2, 2, 3)))
    monkeypatch.setattr(fashion_mnist, "LARGEST_IDX_BYTES", 11, raising=False)
    with pytest.raises(DataCorrupted, match="at most 11"):
        fashion_mnist.read_idx(path, 3)


# --- preparing ---------------------------------------------------------------------------------------------


def test_splits_are_shuffled_disjoint_and_complete() -> None:
    files = MemoryFiles()
    facts = prepare(SMALL, files)
    arrays = load_prepared(files, facts, SPLITS)
    assert (facts["train_examples"], facts["val_examples"], facts["test_examples"]) == (90, 10, 20)
    assert (facts["x_shape"], facts["x_dtype"], facts["classes"]) == ([1], "float32", 5)
    rows = np.concatenate([arrays["x_train"], arrays["x_val"]])[:, 0]
    assert sorted(rows) == list(range(100))
    assert rows.tolist() != sorted(rows)
    for part in ("train", "val", "test"):
        assert (arrays[f"x_{part}"][:, 0] % 5 == arrays[f"y_{part}"]).all()
    assert arrays["x_test"][:, 0].tolist() == list(range(20))
    assert json.loads(json.dumps(facts)) == facts


def test_a_prepared_data_set_is_found_again() -> None:
    files = MemoryFiles()
    facts = prepare(SMALL, files)
    before = dict(files.contents)
    assert list(before)[-1].endswith("meta.json")
    written: list[str] = []
    files._hook = written.append
    assert prepare(SMALL, files) == facts
    assert "before write" not in written
    assert files.contents == before
    assert files.durable == set(before)


@pytest.mark.parametrize("damage", ["no meta", "short array", "no array", "torn meta"])
def test_an_incomplete_folder_is_made_again(damage: str) -> None:
    files = MemoryFiles()
    facts = prepare(SMALL, files)
    before = dict(files.contents)
    array, meta = f"{facts['folder']}/x_val.npy", f"{facts['folder']}/meta.json"
    if damage == "short array":
        files.contents[array] = before[array][:-1]
    elif damage == "torn meta":
        files.contents[meta] = before[meta][:50]
    else:
        del files.contents[meta if damage == "no meta" else array]
    assert prepare(SMALL, files) == facts
    assert files.contents == before


def test_other_data_or_another_split_get_another_folder() -> None:
    files = MemoryFiles()

    def other(folder: Path) -> Arrays:
        arrays = small_arrays(folder)
        return replace(arrays, x_train=arrays.x_train + 1)

    facts = [
        prepare(SMALL, files),
        prepare(SMALL, files, validation_fraction=0.2),
        prepare(replace(SMALL, load=other), files),
    ]
    assert len({fact["folder"] for fact in facts}) == 3


@pytest.mark.parametrize(
    ("examples", "fraction", "validation"), [(100, 0.0, 0), (1, 0.9, 0), (4, 0.1, 0), (10, 0.1, 1)]
)
def test_small_sets_keep_at_least_one_training_example(examples: int, fraction: float, validation: int) -> None:
    def few(folder: Path) -> Arrays:
        arrays = small_arrays(folder)
        return replace(arrays, x_train=arrays.x_train[:examples], y_train=arrays.y_train[:examples])

    files = MemoryFiles()
    facts = prepare(replace(SMALL, load=few), files, validation_fraction=fraction)
    assert (facts["train_examples"], facts["val_examples"]) == (examples - validation, validation)
    assert len(load_prepared(files, facts, ["x_val"])["x_val"]) == validation


@pytest.mark.parametrize("change", ["missing", "short", "flipped", "pickled"])
def test_a_damaged_array_is_refused_when_read(change: str) -> None:
    files = MemoryFiles()
    facts = prepare(SMALL, files)
    path = f"{facts['folder']}/x_train.npy"
    content = bytearray(files.contents.pop(path))
    if change == "short":
        files.contents[path] = bytes(content[:-1])
    elif change == "flipped":
        content[-1] ^= 1
        files.contents[path] = bytes(content)
    elif change == "pickled":
        files.contents[path] = bytes(content).replace(b"'<f4'", b"'|O' ")
    with pytest.raises(DataCorrupted, match=r"x_train\.npy"):
        load_prepared(files, facts)


# --- a user's own load --------------------------------------------------------------------------------------


def changed(**arrays: Any) -> Callable[[Path], Arrays]:
    return lambda folder: replace(small_arrays(folder), **arrays)


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (changed(y_train=np.arange(99)), "as many labels as examples"),
        (changed(x_test=np.zeros((0, 1)), y_test=np.zeros(0)), "at least one"),
        (changed(y_train=np.arange(100)), "y_train holds labels from 0 to 99, expected 0 to 4"),
        (changed(x_train=np.full((100, 1), np.nan)), "NaN"),
        (changed(x_train=np.full((100, 1), "a")), "expected numbers"),
        (changed(x_train=np.full((100, 1), None)), "expected numbers"),
    ],
)
def test_arrays_that_cannot_be_trained_on_are_refused(load: Callable[[Path], Arrays], message: str) -> None:
    with pytest.raises(DataCorrupted, match=message):
        prepare(replace(SMALL, load=load), MemoryFiles())


def test_a_load_that_raises_is_named_with_its_line() -> None:
    def load(folder: Path) -> Arrays:
        raise KeyError("column")

    with pytest.raises(RecipeFailed, match=r"test_datasets\.py:\d+: loading the data set small: KeyError: 'column'"):
        prepare(replace(SMALL, load=load), MemoryFiles())


# --- the built-in ones --------------------------------------------------------------------------------------


def test_digits_are_as_described() -> None:
    source = source_named("digits")
    files = MemoryFiles()
    facts = prepare(source, files)
    arrays = load_prepared(files, facts, SPLITS)
    assert facts["train_examples"] + facts["val_examples"] == source.train_examples == 1437
    assert facts["test_examples"] == source.test_examples == 360
    assert arrays["x_train"].shape[1:] == source.input_shape
    assert arrays["x_train"].dtype == np.uint8
    assert arrays["x_train"].max() == source.max_level
    assert set(arrays["y_test"]) == set(range(10))


def test_fashion_mnist_is_as_described(data_folder: Path) -> None:
    source = source_named("fashion-mnist")
    if not (data_folder / source.name).is_dir():
        pytest.skip(f"no {source.name} in {data_folder}")
    files = MemoryFiles()
    facts = prepare(source, files, data_folder)
    arrays = load_prepared(files, facts, ("x_train", "y_train", "x_test", "y_test"))
    assert (facts["train_examples"], facts["val_examples"], facts["test_examples"]) == (54_000, 6_000, 10_000)
    assert facts["x_shape"] == list(source.input_shape or ())
    assert facts["bytes"] < 56_000_000
    assert np.bincount(arrays["y_test"]).tolist() == [1_000] * 10
    assert arrays["x_train"].max() == source.max_level
