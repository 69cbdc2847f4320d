"""Flat vectors on the shared files: `.npy`, with a digest for every slice of them.

A slice can be read and checked without reading the rest, so a combine task touches just the bytes it reduces.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from contracts.errors import ShapeMismatch, TornFile
from contracts.ports import OpenFile, SharedFiles
from contracts.records import FileRef
from training.bfloat16 import BFLOAT16, Halves, from_bfloat16

VECTOR_TYPES = ("float32", "float64", "float16")
UPDATE_TYPES = (*VECTOR_TYPES, BFLOAT16)
Vector = npt.NDArray[np.floating[Any]]


def stored_type(dtype: str) -> np.dtype[Any]:
    """What NumPy holds values of a report's type as."""
    return np.dtype(np.uint16 if dtype == BFLOAT16 else dtype)


def npy_header(dtype: str, *shape: int) -> bytes:
    """The header of a `.npy` file (format 1.0, as `numpy.lib.format` writes it)."""
    stream = io.BytesIO()
    description = {"descr": stored_type(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, description)
    return stream.getvalue()


def write_vector(
    files: SharedFiles, path: str, vector: Vector | Halves, bounds: Sequence[int], *, durable: bool
) -> FileRef:
    """Write a vector and name it, with one digest for each part between two bounds.

    Args:
        vector: shape (count,), contiguous; halves are bfloat16.
        bounds: 0 = b₀ < b₁ < … < bₖ = count, in values.
    """
    dtype = BFLOAT16 if vector.dtype == np.uint16 else vector.dtype.name
    header = npy_header(dtype, vector.size)
    data = memoryview(np.ascontiguousarray(vector)).cast("B")
    size = vector.dtype.itemsize
    pieces = [data[low * size : high * size] for low, high in pairwise(bounds)]
    written = files.write(path, [header, *pieces], durable=durable)
    parts = tuple(xxhash.xxh3_128_hexdigest(piece) for piece in pieces)
    return FileRef(path=path, bytes=written, count=vector.size, dtype=dtype, parts=parts)


def read_vector(files: SharedFiles, refs: Sequence[FileRef], out: Vector | None = None) -> Vector:
    """The vector whose slices lie in `refs`, in order, every digest checked.

    Args:
        out: filled and returned if given; shape (count,).
    Raises:
        TornFile: a file is missing, short, or holds other bytes than were reported.
        ShapeMismatch: `out` has another length.
    """
    count = sum(_checked_count(ref) for ref in refs)
    vector = np.empty(count, dtype=refs[0].dtype) if out is None else out
    if vector.size != count:
        raise ShapeMismatch(refs[0].path, f"{count} values", f"{vector.size}")
    start = 0
    for ref in refs:
        target = vector[start : start + ref.count]
        data = memoryview(target).cast("B")
        files.read_into(ref.path, len(npy_header(ref.dtype, ref.count)), data)
        _check(ref, xxhash.xxh3_128_hexdigest(data), 0)
        start += ref.count
    return vector


class NewestVector:
    """The vector that was read last, kept for the next task of a warm environment that needs the same files.

    File names carry a nonce and the digests were checked, so the same names mean the same bytes.
    """

    def __init__(self) -> None:
        self._kept: tuple[tuple[FileRef, ...], Vector] | None = None

    def read(self, files: SharedFiles, refs: Sequence[FileRef]) -> Vector:
        """As `read_vector`; the vector cannot be written to."""
        wanted = tuple(refs)
        if self._kept is None or self._kept[0] != wanted:
            self._kept = None  # let go of the old one before the new one takes its place
            vector = read_vector(files, wanted)
            vector.flags.writeable = False
            self._kept = (wanted, vector)
        return self._kept[1]


class PartReader:
    """One part of a stored vector, forwards block by block and hashed on the way; mapped where the file allows it.

    Args:
        file: the open file of `ref`.
        part: which of its digests covers values `low` … `high` - 1.
        halves: where blocks of bfloat16 are read into, as long as the largest; may serve many readers.
        window_bytes: so much is mapped at a time, or a block if that is more: mapped pages count as the process's.
    """

    def __init__(
        self,
        file: OpenFile,
        ref: FileRef,
        part: int,
        low: int,
        high: int,
        halves: Halves | None = None,
        window_bytes: int = 1 << 20,
    ) -> None:
        self._file = file
        self._ref = ref
        self._part = part
        self._stored = stored_type(ref.dtype)
        self._offset = len(npy_header(ref.dtype, ref.count)) + low * self._stored.itemsize
        self._left = high - low
        self._digest = xxhash.xxh3_128()
        self._halves = halves if ref.dtype == BFLOAT16 else None
        self._window_values = window_bytes // self._stored.itemsize
        self._window: npt.NDArray[Any] | None = np.empty(0, dtype=self._stored)  # None: the file gives no view
        self._at = 0

    def next_block(self, buffer: Vector) -> Vector:
        """The next values, as many as `buffer` has; float32 where the file holds bfloat16.

        Args:
            buffer: shape (block,); they may be read into it.
        Returns:
            shape (block,): `buffer`, or the values where they lie, which cannot be written to.
        Raises:
            TornFile: the file is too short.
        """
        seen = self._seen(buffer.size)
        stored = self._read(buffer) if seen is None else seen
        self._offset += stored.nbytes
        self._left -= stored.size
        self._digest.update(stored)
        return stored if self._halves is None else from_bfloat16(stored, out=buffer)

    def _read(self, buffer: Vector) -> npt.NDArray[Any]:
        stored: npt.NDArray[Any] = buffer if self._halves is None else self._halves[: buffer.size]
        self._file.read_into(self._offset, stored)
        return stored

    def _seen(self, size: int) -> npt.NDArray[Any] | None:
        """The next values where they lie; None where they must be read."""
        if self._window is not None and self._at + size > self._window.size:
            wanted = min(self._left, max(size, self._window_values // size * size))
            view = self._file.view(self._offset, wanted * self._stored.itemsize)
            self._window = None if view is None else np.frombuffer(view, dtype=self._stored)  # (wanted,)
            self._at = 0
        if self._window is None:
            return None
        found = self._window[self._at : self._at + size]
        self._at += size
        return found

    def check(self) -> None:
        """Once all is read. Nothing that was read may be used before this has returned.

        Raises:
            TornFile: the part holds other bytes than were reported.
        """
        _check(self._ref, self._digest.hexdigest(), self._part)


def write_tensors(files: SharedFiles, path: str, tensors: Mapping[str, npt.NDArray[Any]], *, durable: bool) -> FileRef:
    """Write named arrays as `.safetensors`: no pickle, any shape and type."""
    data = save_safetensors({name: np.asarray(array, order="C") for name, array in tensors.items()})
    written = files.write(path, [data], durable=durable)
    return FileRef(path=path, bytes=written, count=written, parts=(xxhash.xxh3_128_hexdigest(data),))


def read_tensors(files: SharedFiles, ref: FileRef) -> dict[str, npt.NDArray[Any]]:
    """The named arrays of a file, its digest checked before anything is parsed.

    Raises:
        TornFile: the file is missing or holds other bytes than were reported.
    """
    data = files.read(ref.path)
    _check(ref, xxhash.xxh3_128_hexdigest(data), 0)
    try:
        tensors: dict[str, npt.NDArray[Any]] = load_safetensors(data)
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
        received = f"it is no .safetensors file ({type(error).__name__}: {str(error)[:200]})"
        raise TornFile(ref.path, received, "named arrays of numbers") from None
    return tensors


def slice_bounds(count: int, slices: int) -> tuple[int, ...]:
    """Bounds that cut `count` values into `slices` near-equal stretches, none empty unless there are too few."""
    slices = max(1, min(slices, count))
    return tuple(index * count // slices for index in range(slices + 1))


def _checked_count(ref: FileRef) -> int:
    """How many values a file has, if what its report says of it fits together: it is allocated before it is read.

    Raises:
        TornFile: it does not.
    """
    fits = ref.dtype in VECTOR_TYPES and ref.count >= 0 and len(ref.parts) > 0
    if not fits or ref.bytes != len(npy_header(ref.dtype, ref.count)) + ref.count * np.dtype(ref.dtype).itemsize:
        raise TornFile(ref.path, f"{ref.count} values of {ref.dtype!r} in {ref.bytes} bytes", "a vector's file")
    return ref.count


def _check(ref: FileRef, digest: str, part: int) -> None:
    if digest != ref.parts[part]:
        raise TornFile(ref.path, f"part {part} hashes to {digest}", f"{ref.parts[part]} as reported")
