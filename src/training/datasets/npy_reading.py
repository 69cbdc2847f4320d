"""Arrays from foreign `.npy` bytes: nothing is unpickled, and nothing is allocated that the bytes cannot fill."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from typing import IO, Any, NamedTuple

import numpy as np

from training.datasets.source import Array

MAX_DIMENSIONS = 32
DEFLATE_RATIO = 1_032
"""The most that deflate can pack into one byte: a member that says more of itself lies."""

BROKEN_ZIP = (zipfile.BadZipFile, KeyError, ValueError, RuntimeError, OSError, EOFError, OverflowError, zlib.error)
"""What `zipfile` raises of foreign bytes: RuntimeError also for encryption and methods that it does not know."""


class Header(NamedTuple):
    """What stands before an array's values."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]

    @property
    def data_bytes(self) -> int:
        """Of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(stream: IO[bytes]) -> Header:
    """A header of format 1.0 or 2.0, `numpy.save`'s for numbers.

    Raises:
        ValueError: it is none, or one of an array that is not made of plain values.
    """
    try:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"it is of format {version}")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        header = Header(*read(stream))
    except ValueError:
        raise
    except Exception as error:  # noqa: BLE001 - NumPy parses Python text, whose parser raises what it likes
        raise ValueError(f"its header cannot be parsed ({type(error).__name__})") from None
    if header.dtype.hasobject:
        raise ValueError("it holds Python objects")
    whole = all(type(length) is int and length >= 0 for length in header.shape)
    if not whole or len(header.shape) > MAX_DIMENSIONS or not header.dtype.itemsize:
        raise ValueError(f"no array has the shape {str(header.shape)[:80]}")
    return header


def read_array(stream: IO[bytes], size_bytes: int) -> Array:
    """The array in a stream.

    Args:
        size_bytes: what the stream has, at most.
    Raises:
        ValueError: it is no array of plain values, or is cut off.
    """
    header = read_header(stream)
    if header.data_bytes > size_bytes:
        raise ValueError(f"its header tells of {header.data_bytes} bytes, and it has {size_bytes}")
    array = np.empty(math.prod(header.shape), dtype=header.dtype)
    data = memoryview(array.view(np.uint8))
    done = 0
    while done < len(data):
        piece = stream.read(min(len(data) - done, 1 << 20))
        if not piece:
            raise ValueError(f"it ends after {done} of {len(data)} bytes")
        data[done : done + len(piece)] = piece
        done += len(piece)
    return array.reshape(header.shape, order="F" if header.fortran_order else "C")


def parse_header(head: bytes | bytearray) -> Header:
    """A header that was read by itself.

    Raises:
        ValueError: see `read_header`.
    """
    return read_header(io.BytesIO(head))


def checked_member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """A member of a zip archive, known not to unpack to more than its packed bytes can hold.

    Raises:
        KeyError: there is no such member.
        ValueError: it is packed in an unusual way, or lies about its size.
    """
    info = archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is packed in an unusual way")
    packed = min(info.compress_size, _length(archive))
    if info.file_size > packed * (DEFLATE_RATIO if info.compress_type == zipfile.ZIP_DEFLATED else 1):
        raise ValueError(f"{name} says that it has {info.file_size} bytes, packed in {packed}")
    return info


def _length(archive: zipfile.ZipFile) -> int:
    stream = archive.fp
    assert stream is not None  # noqa: S101 - for the type checker: it is open
    return stream.seek(0, io.SEEK_END)
