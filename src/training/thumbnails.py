"""Examples as small pictures: PNG or JPEG files that a page can show. Needs Pillow, no TensorFlow."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from training.datasets.source import Array

LONGEST_SIDE = 64
SMALL_SIDE = 32
"""Up to here a PNG is about as small as a JPEG, and exact."""

JPEG_QUALITY = 85
MAX_BYTES = 120_000
"""Of all pictures together: within a record they grow by a third, and a record should stay under 200 KB."""

_SMALLER_SIDES = (48, 32, 24, 16)


def is_picture(shape: Sequence[int]) -> bool:
    """Whether examples of this shape are pictures: (height, width), (height, width, 1) or (height, width, 3)."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))


def thumbnails(x: Array, max_level: float = 255, max_bytes: int = MAX_BYTES) -> tuple[bytes, ...]:
    """One file for each example, smaller ones where they would be too large together.

    Args:
        x: shape (examples, height, width), or with 1 or 3 channels behind.
        max_level: what white is in `x`.
        max_bytes: of all files together.
    Returns:
        the files in the order of `x`; none where the examples are no pictures, or no size is small enough.
    """
    if not is_picture(x.shape[1:]):
        return ()
    pictures = [_picture(example, max_level) for example in x]
    files = tuple(_file(_fitted(picture, LONGEST_SIDE)) for picture in pictures)
    for side in _SMALLER_SIDES:
        if sum(map(len, files)) <= max_bytes:
            return files
        files = tuple(_jpeg(_fitted(picture, side)) for picture in pictures)
    return files if sum(map(len, files)) <= max_bytes else ()


def _picture(example: Array, max_level: float) -> Image.Image:
    """Grey levels or colours; what is out of range is black or white."""
    levels = np.nan_to_num(example.astype(np.float64) * (255 / max_level))
    pixels = np.clip(np.rint(levels), 0, 255).astype(np.uint8)  # (height, width[, channels])
    return Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)


def _fitted(picture: Image.Image, side: int) -> Image.Image:
    """No side longer than that; a small picture stays as it is."""
    if max(picture.size) <= side:
        return picture
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _file(picture: Image.Image) -> bytes:
    return _png(picture) if max(picture.size) <= SMALL_SIDE else _jpeg(picture)


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return stream.getvalue()
