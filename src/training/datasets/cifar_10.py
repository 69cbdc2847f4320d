"""CIFAR-10: 50,000 + 10,000 colour pictures of 32×32 pixels in ten classes (Krizhevsky, 2009).

The official files are Python pickles. They are never unpickled: `pickletools` lists a pickle's instructions without
doing any of them, and the pixels and labels stand in these as they are.
"""

from __future__ import annotations

import hashlib
import pickletools
import tarfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from contracts.errors import DataCorrupted
from training.datasets.source import Array, Arrays, DataFile, DataSource

EXAMPLES = 10_000
PIXELS = 3 * 32 * 32
LARGEST_BATCH_BYTES = 64 << 20
MOST_INSTRUCTIONS = 20 * EXAMPLES
"""The official batches have 3 for each example; Python 3 takes 9, most of them for the file's name."""

CONTENT_SHA256 = "fd18b93bd15cbf8101362243553ef1c7de46bfdf746e7ee01936a3f94fac8d80"
"""Of each batch in turn, its rows of pixels and its labels as bytes: the same however a batch is pickled."""

_ARCHIVE = DataFile(
    name="cifar-10-python.tar.gz",
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    bytes=170_498_071,
)
_FOLDER = "cifar-10-batches-py"
_BATCHES = (*(f"{_FOLDER}/data_batch_{number}" for number in range(1, 6)), f"{_FOLDER}/test_batch")

_STRINGS = frozenset({"BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINUNICODE"})
_WHOLE_NUMBERS = frozenset({"BININT", "BININT1", "BININT2"})
_OF_LISTS = frozenset({"MARK", "APPEND", "APPENDS", "BINPUT", "LONG_BINPUT"})
_OTHERS = frozenset(
    {
        "PROTO", "STOP", "NONE", "NEWTRUE", "NEWFALSE", "BINGET", "LONG_BINGET", "EMPTY_LIST", "EMPTY_DICT", "SETITEM",
        "SETITEMS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "REDUCE", "BUILD",
    }
)  # fmt: skip
_NAMES = frozenset(
    {
        "numpy ndarray",
        "numpy dtype",
        "numpy.core.multiarray _reconstruct",
        "numpy._core.multiarray _reconstruct",
        "_codecs encode",  # Python 3 writes byte strings so in a protocol of Python 2
    }
)


def load(folder: Path) -> Arrays:
    """The archive in `folder`, or what it unpacks to, as uint8: x of shape (examples, 32, 32, 3), y of (examples,).

    Raises:
        DataCorrupted: a batch is not what was published.
    """
    batches = list(_contents(folder))
    digest = hashlib.sha256()
    for rows, labels in batches:
        digest.update(rows.data)
        digest.update(labels.data)
    if digest.hexdigest() != CONTENT_SHA256:
        received = f"the sha256 of its pixels and labels is {digest.hexdigest()}"
        raise DataCorrupted(str(folder), received, CONTENT_SHA256)
    x = [_pictures(rows) for rows, _ in batches]
    y = [labels for _, labels in batches]
    return Arrays(np.concatenate(x[:-1]), np.concatenate(y[:-1]), x[-1], y[-1])


def read_batch(content: bytes, where: str, examples: int = EXAMPLES) -> tuple[Array, Array]:
    """The pixels and labels in a pickled batch. Nothing of it is executed.

    Args:
        where: names the batch in an error.
        examples: how many there must be.
    Returns:
        uint8 of shape (examples, 3072), each row red, green, blue; uint8 labels 0 … 9 of shape (examples,).
    Raises:
        DataCorrupted: it is anything but a dictionary of texts, whole numbers and one array.
    """
    if len(content) > LARGEST_BATCH_BYTES:
        raise DataCorrupted(where, f"{len(content)} bytes", f"at most {LARGEST_BATCH_BYTES}")
    try:
        pixels, labels = _walk(content, examples * PIXELS)
    except (ValueError, IndexError, OverflowError) as error:
        received = f"it is no batch of pictures ({str(error)[:200]})"
        raise DataCorrupted(where, received, "one as the authors published it") from None
    if len(pixels) != 1 or len(labels) != examples:
        received = f"{len(pixels)} arrays of pixels and {len(labels)} labels"
        raise DataCorrupted(where, received, f"one array and {examples} labels")
    if not all(0 <= label < 10 for label in labels):
        raise DataCorrupted(where, f"labels from {min(labels)} to {max(labels)}", "0 to 9")
    return np.frombuffer(pixels[0], np.uint8).reshape(examples, PIXELS), np.array(labels, np.uint8)


def _walk(content: bytes, pixel_bytes: int) -> tuple[list[bytes], list[int]]:
    """All strings of `pixel_bytes`, and the whole numbers of the list behind the text "labels".

    Raises:
        ValueError: an instruction, or a name that it would import, is not one that the batches have.
    """
    pixels: list[bytes] = []
    labels: list[int] = []
    is_next, is_inside = False, False  # the list of labels is the next one; we are in it
    instructions: Iterator[tuple[Any, Any, Any]] = iter(pickletools.genops(content))
    for instruction, value, _ in islice(instructions, MOST_INSTRUCTIONS):
        name = instruction.name
        if is_inside and name in _WHOLE_NUMBERS:
            labels.append(value)
        elif name in _STRINGS:
            is_inside = False
            string = _bytes(value)
            is_next = is_next or string == b"labels"
            if len(string) == pixel_bytes:
                pixels.append(string)
        elif name == "EMPTY_LIST":
            is_next, is_inside = False, is_next
        else:
            _check(name, value)
            is_inside = is_inside and name in _OF_LISTS
    if next(instructions, None) is not None:
        raise ValueError(f"it has more than {MOST_INSTRUCTIONS} instructions")
    return pixels, labels


def _check(name: str, value: Any) -> None:
    if name == "GLOBAL" and value not in _NAMES:
        raise ValueError(f"it would import {str(value)[:80]!r}")
    if name != "GLOBAL" and name not in _OTHERS | _OF_LISTS | _WHOLE_NUMBERS:
        raise ValueError(f"it has the instruction {name}")


def _bytes(value: str | bytes) -> bytes:
    """A string of Python 2 comes as text, each byte a character."""
    return value.encode("latin-1") if isinstance(value, str) else value


def _contents(folder: Path) -> Iterator[tuple[Array, Array]]:
    archive = folder / _ARCHIVE.name
    if not archive.is_file():
        for name in _BATCHES:
            yield read_batch(_read(folder / name), str(folder / name))
        return
    try:
        # Its digest was checked, so this is the authors' archive, which holds each batch once.
        with tarfile.open(archive, "r:gz") as members:
            for name in _BATCHES:
                stream = members.extractfile(name)
                if stream is None:
                    raise KeyError(f"{name} is no file")
                yield read_batch(stream.read(LARGEST_BATCH_BYTES + 1), f"{archive}, {name}")
    except (tarfile.TarError, KeyError, OSError, EOFError, zlib.error) as error:
        raise DataCorrupted(str(archive), f"it cannot be unpacked ({error})") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(LARGEST_BATCH_BYTES + 1)
    except OSError as error:
        raise DataCorrupted(str(path), f"it cannot be read ({error.strerror})") from None


def _pictures(rows: Array) -> Array:
    """(examples, 3072), colour by colour → (examples, 32, 32, 3)."""
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


source = DataSource(
    name="cifar-10",
    load=load,
    files=(_ARCHIVE,),
    unpacked=_BATCHES,
    base_url="https://www.cs.toronto.edu/~kriz/",
    license="published for research by A. Krizhevsky, V. Nair and G. Hinton; no terms are named",
    train_examples=5 * EXAMPLES,
    test_examples=EXAMPLES,
    input_shape=(32, 32, 3),
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)
