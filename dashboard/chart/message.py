"""A figure on its way to the browser: a JSON header, and the arrays behind it in binary. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xxhash

ARRAY_KEY = "__array__"
HEADER_LENGTH_BYTES = 4
WORST_ERROR = 1e-6
"""Of a value as a part of the span of its array, above which four bytes do not do."""

Array = np.ndarray[Any, np.dtype[Any]]
_INTEGER_NAMES = ("u1", "i1", "u2", "i2", "u4", "i4")
_TYPE_NAMES: dict[np.dtype[Any], str] = {np.dtype(name): name for name in (*_INTEGER_NAMES, "f4", "f8")}


class Place(NamedTuple):
    """What the browser needs to know besides traces and layout.

    Args:
        key: of the chart; zoom and legend choices are kept as long as it stays.
        alt: what can be seen, in a sentence.
        x_kind: `linear`, `log`, `date` or `category`.
        sources: addresses of plotly.js, relative to the page; the first one that has it is used.
        live_range: whether the visible range is to come back.
        x_range: the range as it was before, for a chart that is drawn anew.
    """

    key: str
    alt: str
    x_kind: str
    height_px: int
    sources: tuple[str, ...]
    live_range: bool = False
    x_range: tuple[float, float] | None = None


def pack(data: Sequence[Mapping[str, Any]], layout: Mapping[str, Any], place: Place) -> bytes:
    """The message: length of the header (u4, little-endian), header, arrays.

    In the header an array is `{"__array__": [type, offset, rows]}`, or `[type, offset, rows, columns]`, the offset
    counted from the end of the header. The digest in it says whether there is anything new to draw. Numbers that JSON
    does not know (NaN, infinity) become null.
    """
    blobs: list[bytes] = []
    drawn = _portable({"data": data, "layout": layout}, blobs, [0])
    body = b"".join(blobs)
    text = json.dumps([drawn, place.height_px], separators=(",", ":"), allow_nan=False)
    digest = xxhash.xxh3_64(text.encode())
    digest.update(body)
    header = {**place._asdict(), "digest": digest.hexdigest(), "figure": drawn}
    encoded = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    return len(encoded).to_bytes(HEADER_LENGTH_BYTES, "little") + encoded + body


def small_array(values: Array) -> Array:
    """The values in the smallest type that the browser can draw them from: times as ms since 1970, truth as 0 and 1.

    Whole numbers keep their values; float64 becomes float32 where the eye cannot tell (times since 1970 stay).
    """
    if values.dtype.kind == "M":
        values = values.astype("datetime64[ms]").astype(np.float64)
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind in "iu":
        return _small_integers(values)
    if values.dtype == np.float64 and _fits_float32(values):
        return values.astype(np.float32)
    return values.astype(np.float32) if values.dtype.itemsize < 4 else values.astype(values.dtype.newbyteorder("<"))


def _small_integers(values: Array) -> Array:
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for kind in map(np.dtype, _INTEGER_NAMES):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind)
    return values.astype(np.float64)


def _fits_float32(values: Array) -> bool:
    known = values[np.isfinite(values)]
    if not known.size:
        return True
    if np.abs(known).max() > np.finfo(np.float32).max:
        return False
    span = float(np.ptp(known)) or float(np.abs(known).max())
    return float(np.abs(known.astype(np.float32) - known).max()) <= WORST_ERROR * span


def _portable(value: Any, blobs: list[bytes], length: list[int]) -> Any:
    """The value for JSON; arrays of numbers go to `blobs`, of which `length[0]` is the length so far."""
    if isinstance(value, Mapping):
        return {str(name): _portable(part, blobs, length) for name, part in value.items()}
    if isinstance(value, np.ndarray) and value.ndim in (1, 2) and value.dtype.kind in "biufM":
        return _placed(small_array(value), blobs, length)
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_portable(part, blobs, length) for part in value]
    if isinstance(value, np.generic):
        return _portable(small_scalar(value), blobs, length)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def small_scalar(value: np.generic) -> Any:
    """A numpy scalar as Python's own; a time as ms since 1970."""
    if isinstance(value, np.datetime64):
        return float(value.astype("datetime64[ms]").astype(np.int64))
    return value.item()


def _placed(array: Array, blobs: list[bytes], length: list[int]) -> dict[str, list[Any]]:
    content = np.ascontiguousarray(array).tobytes()
    blobs.append(content)
    offset = length[0]
    length[0] += len(content)
    return {ARRAY_KEY: [_TYPE_NAMES[array.dtype], offset, *array.shape]}
