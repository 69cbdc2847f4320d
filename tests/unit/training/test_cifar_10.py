"""CIFAR-10's pickles are read without unpickling anything, and anything else in their place is refused."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import DataCorrupted, DataNotFound
from training.datasets import cifar_10
from training.datasets.fetch import check_source
from training.datasets.source import DataFile, source_named

EXAMPLES = 3
ROWS = np.random.default_rng(0).integers(0, 256, (EXAMPLES, cifar_10.PIXELS), dtype=np.uint8)
LABELS = [3, 9, 0]


def python_3(rows: Any = ROWS, labels: Any = LABELS, **more: Any) -> bytes:
    """A batch as Python 3 pickles it in a protocol of Python 2, as the data that tests use were."""
    batch = {b"batch_label": b"batch 1", b"labels": labels, b"data": rows, b"filenames": [b"a.png"] * len(labels)}
    return pickle.dumps(batch | {key.encode(): value for key, value in more.items()}, protocol=2)


def text(value: bytes) -> bytes:
    return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value


def python_2(rows: np.ndarray = ROWS, labels: list[int] = LABELS) -> bytes:
    """A batch as Python 2 and its NumPy pickled it, as the authors published them."""
    memo = iter(range(256))

    def kept(content: bytes) -> bytes:
        return content + b"q" + bytes([next(memo)])

    none = b"NNN" + 2 * b"J\xff\xff\xff\xff"
    dtype = b"cnumpy\ndtype\n(" + text(b"u1") + b"K\0K\1tR(K\3" + text(b"|") + none + b"K\0tb"
    shape = b"K" + bytes([len(rows)]) + b"M" + struct.pack("<H", rows.shape[1]) + b"\x86"
    array = kept(b"cnumpy.core.multiarray\n_reconstruct\n") + b"cnumpy\nndarray\nK\0\x85" + text(b"b") + b"\x87R"
    array += b"(K\1" + shape + kept(dtype) + b"\x89" + kept(text(rows.tobytes())) + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    names = b"](" + b"".join(kept(text(b"a.png")) for _ in labels) + b"e"
    pairs = [(b"data", array), (b"labels", numbers), (b"batch_label", text(b"batch 1")), (b"filenames", names)]
    return b"\x80\2}q\xff(" + b"".join(kept(text(key)) + value for key, value in pairs) + b"u."


@pytest.mark.parametrize("content", [python_3(), python_2(), pickle.dumps({"labels": LABELS, "data": ROWS}, 3)])
def test_a_batch_is_read_whoever_pickled_it(content: bytes) -> None:
    pixels, labels = cifar_10.read_batch(content, "batch", EXAMPLES)
    assert (pixels == ROWS).all()
    assert labels.tolist() == LABELS
    assert (pixels.dtype, labels.dtype) == (np.uint8, np.uint8)


def test_the_handmade_batch_is_one_that_python_2_would_read() -> None:
    batch = pickle.loads(python_2(), encoding="latin1")  # noqa: S301 - made in this file
    assert (batch["data"] == ROWS).all()
    assert batch["labels"] == LABELS


class Runs:
    """Unpickling it makes a file."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_no_pickle_is_executed(tmp_path: Path) -> None:
    made = tmp_path / "made"
    import os

    for call in (Runs(os.mkdir, str(made)), Runs(eval, f"__import__('os').mkdir({str(made)!r})")):
        for content in (python_3(more=call), python_3(rows=call), python_3(labels=[call])):
            with pytest.raises(DataCorrupted, match="it would import"):
                cifar_10.read_batch(content, "batch", EXAMPLES)
    assert not made.exists()
    pickle.loads(python_3(more=Runs(os.mkdir, str(made))))  # noqa: S301 - so it would have done harm
    assert made.exists()


NUMPY_GETS = b"\x80\2cnumpy.core.multiarray\nscalar\n."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no batch of pictures"),
        (b"no pickle at all", "no batch of pictures"),
        (python_3()[:-1], "no batch of pictures"),
        (python_3()[:5000], "no batch of pictures"),
        (python_2()[:5000], "no batch of pictures"),
        (NUMPY_GETS, "would import 'numpy.core.multiarray scalar'"),
        (b"\x80\2ios\nsystem\n.", "INST"),
        (pickle.dumps({}, protocol=4), "MEMOIZE"),
        (pickle.dumps({1.5: 2}, protocol=2), "BINFLOAT"),
        (b"\x80\2P5\n.", "PERSID"),
        (b"\x8a\xff" + bytes(255) + b".", "LONG1"),
        (python_3(more=ROWS.tobytes()), "2 arrays of pixels and 3 labels"),
        (python_3(rows=ROWS[:2]), "0 arrays of pixels"),
        (python_3(labels=[*LABELS, 1]), "1 arrays of pixels and 4 labels"),
        (python_3(labels=[]), "and 0 labels"),
        (python_3(labels=[3, 10, 0]), "labels from 0 to 10, expected 0 to 9"),
        (python_3(labels=[3, -1, 0]), "labels from -1 to 3"),
        (python_3(labels="aaa"), "and 0 labels"),
        (b"\x80\2" + b"N" * 1_000_000 + b".", "more than 200000 instructions"),
    ],
)
def test_anything_else_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DataCorrupted, match=message):
        cifar_10.read_batch(content, "batch", EXAMPLES)


def test_a_file_larger_than_a_batch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar_10, "LARGEST_BATCH_BYTES", 20)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(python_3())
    with pytest.raises(DataCorrupted, match="21 bytes, expected at most 20"):
        cifar_10.load(tmp_path)


# --- where the batches lie -----------------------------------------------------------------------------------


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a small CIFAR-10, and the pinned digest that it has."""
    folder = tmp_path / "data" / "cifar-10"
    (folder / "cifar-10-batches-py").mkdir(parents=True)
    for index, name in enumerate(cifar_10._BATCHES):
        (folder / name).write_bytes(python_3(ROWS + index, [index] * EXAMPLES))
    monkeypatch.setattr(cifar_10.read_batch, "__defaults__", (EXAMPLES,))
    with pytest.raises(DataCorrupted) as refused:
        cifar_10.load(folder)
    found = str(refused.value).split("labels is ")[1][:64]
    monkeypatch.setattr(cifar_10, "CONTENT_SHA256", found)
    return folder


def test_batches_become_pictures(unpacked: Path) -> None:
    arrays = cifar_10.load(unpacked)
    assert (arrays.x_train.shape, arrays.x_test.shape) == ((5 * EXAMPLES, 32, 32, 3), (EXAMPLES, 32, 32, 3))
    assert arrays.y_train.tolist() == sorted([0, 1, 2, 3, 4] * EXAMPLES)
    assert arrays.y_test.tolist() == [5] * EXAMPLES
    row = ROWS[2] + 1  # red, green, blue, each row by row
    assert (arrays.x_train[EXAMPLES + 2][7, 9] == row[[7 * 32 + 9, 1024 + 7 * 32 + 9, 2048 + 7 * 32 + 9]]).all()


def test_changed_pixels_or_labels_are_refused(unpacked: Path) -> None:
    for change in (python_3(ROWS, [0, 0, 0]), python_3(ROWS + 4, LABELS)):
        (unpacked / cifar_10._BATCHES[4]).write_bytes(change)
        with pytest.raises(DataCorrupted, match="the sha256 of its pixels and labels"):
            cifar_10.load(unpacked)
    (unpacked / cifar_10._BATCHES[5]).unlink()
    with pytest.raises(DataCorrupted, match="test_batch: it cannot be read"):
        cifar_10.load(unpacked)


def packed(unpacked: Path, target: Path, names: tuple[str, ...] = cifar_10._BATCHES) -> None:
    with tarfile.open(target, "w:gz") as archive:
        for name in names:
            archive.add(unpacked / name, name)


def test_the_archive_gives_the_same(unpacked: Path, tmp_path: Path) -> None:
    wanted = cifar_10.load(unpacked)
    packed(unpacked, tmp_path / "cifar-10-python.tar.gz")
    found = cifar_10.load(tmp_path)
    assert (found.x_train == wanted.x_train).all()
    assert (found.y_test == wanted.y_test).all()


@pytest.mark.parametrize("damage", ["short", "no archive", "a batch too few", "a folder"])
def test_a_broken_archive_is_refused(unpacked: Path, tmp_path: Path, damage: str) -> None:
    target = tmp_path / "cifar-10-python.tar.gz"
    packed(unpacked, target, cifar_10._BATCHES[: 4 if damage == "a batch too few" else None])
    if damage == "short":
        target.write_bytes(target.read_bytes()[: target.stat().st_size // 2])
    elif damage == "no archive":
        target.write_bytes(b"nothing of the kind")
    elif damage == "a folder":
        with tarfile.open(target, "w:gz") as archive:
            info = tarfile.TarInfo(cifar_10._BATCHES[0])
            info.type = tarfile.DIRTYPE
            archive.addfile(info, io.BytesIO())
    with pytest.raises(DataCorrupted, match="cannot be unpacked"):
        cifar_10.load(tmp_path)


def test_unpacked_batches_stand_in_for_the_archive(unpacked: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    # Nothing answers there, so that nothing is fetched if it comes to that.
    source = replace(cifar_10.source, base_url="http://127.0.0.1:9/")
    assert check_source(source, unpacked.parent, nowhere) == unpacked
    (unpacked / source.files[0].name).write_bytes(b"it is there, and another")
    with pytest.raises(DataCorrupted, match=r"cifar-10-python\.tar\.gz: 24 bytes"):
        check_source(source, unpacked.parent, nowhere)
    (unpacked / source.files[0].name).unlink()
    (unpacked / source.unpacked[0]).unlink()
    with pytest.raises(DataNotFound, match="cifar-10-python"):
        check_source(source, unpacked.parent, nowhere)
    other = replace(source, unpacked=(), files=(DataFile("a", "", 1),))
    with pytest.raises(DataNotFound):
        check_source(other, unpacked.parent, nowhere)


@pytest.fixture(scope="module")
def real(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real data set."""
    source = data_folder / "cifar-10"
    if (source / "cifar-10-python.tar.gz").is_file() or (source / cifar_10._BATCHES[0]).is_file():
        yield source
        return
    if not (source / "unpack.py").is_file():
        pytest.skip(f"no cifar-10 in {data_folder}")
    with tempfile.TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as folder:  # 190 MB
        subprocess.run([sys.executable, str(source / "unpack.py"), folder], check=True, capture_output=True)
        yield Path(folder)


def test_cifar_10_is_as_described(real: Path) -> None:
    source = source_named("cifar-10")
    arrays = cifar_10.load(real)
    assert (len(arrays.x_train), len(arrays.x_test)) == (source.train_examples, source.test_examples)
    assert arrays.x_train.shape[1:] == arrays.x_test.shape[1:] == source.input_shape
    assert np.bincount(arrays.y_train).tolist() == [5_000] * 10
    assert np.bincount(arrays.y_test).tolist() == [1_000] * 10
    assert source.class_names[arrays.y_train[0]] == "frog"
    assert arrays.x_train[0, 0, 0].tolist() == [59, 62, 63]
