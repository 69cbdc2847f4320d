"""Fashion-MNIST: 60,000 + 10,000 pictures of clothes, 28×28 grey levels (Xiao, Rasul and Vollgraf, arXiv 1708.07747).

The files are in the idx format of the original MNIST: a magic number, the dimensions, then the values.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from contracts.errors import DataCorrupted
from training.datasets.npy_reading import DEFLATE_RATIO
from training.datasets.source import Array, Arrays, DataFile, DataSource

LARGEST_IDX_BYTES = 1 << 30
"""Of an idx file unpacked: twenty times what Fashion-MNIST has. What tells of more is a bomb, or another data set."""

_PIECE_BYTES = 1 << 20
_UNSIGNED_BYTES = 0x08
_TRAIN_X = DataFile(
    name="train-images-idx3-ubyte.gz",
    sha256="3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    bytes=26_421_880,
)
_TRAIN_Y = DataFile(
    name="train-labels-idx1-ubyte.gz",
    sha256="a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    bytes=29_515,
)
_TEST_X = DataFile(
    name="t10k-images-idx3-ubyte.gz",
    sha256="346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    bytes=4_422_102,
)
_TEST_Y = DataFile(
    name="t10k-labels-idx1-ubyte.gz",
    sha256="67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    bytes=5_148,
)


def load(folder: Path) -> Arrays:
    """The four files in `folder` as uint8 arrays: x of shape (examples, 28, 28), y of shape (examples,).

    Raises:
        DataCorrupted: a file is not a whole gzip file of the idx format.
    """
    return Arrays(
        *(
            read_idx(folder / file.name, dimensions)
            for file, dimensions in ((_TRAIN_X, 3), (_TRAIN_Y, 1), (_TEST_X, 3), (_TEST_Y, 1))
        )
    )


def read_idx(path: Path, dimensions: int) -> Array:
    """A gzipped idx file of unsigned bytes. Nothing is allocated that the file cannot fill.

    Raises:
        DataCorrupted: the gzip stream is cut off or broken, or the header does not fit the data, or tells of more
            than `LARGEST_IDX_BYTES`.
    """
    try:
        with gzip.open(path) as stream:
            shape = _idx_shape(stream.read(4 * (1 + dimensions)), dimensions, path)
            return _idx_values(stream, shape, path)
    except (OSError, EOFError, zlib.error) as error:
        raise DataCorrupted(str(path), f"its gzip stream is broken ({error})") from None


def _idx_shape(header: bytes, dimensions: int, path: Path) -> tuple[int, ...]:
    """What the header tells of, if the file can hold as much."""
    magic = (_UNSIGNED_BYTES << 8) | dimensions
    if len(header) < 4 * (1 + dimensions) or struct.unpack_from(">I", header)[0] != magic:
        raise DataCorrupted(str(path), f"it begins with {header[:4].hex() or 'nothing'}", f"{magic:08x}")
    shape: tuple[int, ...] = struct.unpack_from(f">{dimensions}I", header, 4)
    most = min(LARGEST_IDX_BYTES, path.stat().st_size * DEFLATE_RATIO)
    if math.prod(shape) > most:
        raise DataCorrupted(str(path), f"it tells of {math.prod(shape)} values, {shape}", f"at most {most}")
    return shape


def _idx_values(stream: gzip.GzipFile, shape: tuple[int, ...], path: Path) -> Array:
    """Just as many bytes as the shape has; an end that comes later is not looked for."""
    values = np.empty(math.prod(shape), dtype=np.uint8)
    view, done = memoryview(values), 0
    while done < len(view) and (piece := stream.read(min(len(view) - done, _PIECE_BYTES))):
        view[done : done + len(piece)] = piece
        done += len(piece)
    if done < len(view) or stream.read(1):  # which also has gzip compare its checksum
        received = f"{done if done < len(view) else f'more than {done}'} values"
        raise DataCorrupted(str(path), received, f"{len(view)} for {shape}")
    return values.reshape(shape)


source = DataSource(
    name="fashion-mnist",
    load=load,
    files=(_TRAIN_X, _TRAIN_Y, _TEST_X, _TEST_Y),
    base_url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    license="MIT, Zalando SE",
    train_examples=60_000,
    test_examples=10_000,
    input_shape=(28, 28),
    class_names=(
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
)
