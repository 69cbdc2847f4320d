"""Pictures from files, as a recipe's model takes them. Whatever a file holds, it is an array or an InvalidImage."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from contracts.errors import InvalidImage
from training.datasets.source import Array

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""Spelled out: Pillow knows others that start programs."""

_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")


def read_image(path: Path, shape: tuple[int, ...], max_level: float = 255) -> Array:
    """One picture as grey levels or colours, whichever the model takes.

    Args:
        shape: the model's input: (height, width), (height, width, 1) or (height, width, 3).
        max_level: what white becomes. Levels are whole numbers, but fractions where this is 1 or less.
    Returns:
        that shape, uint8, or float32 for fractions.
    Raises:
        InvalidImage: not a picture, cut off, or of another size.
    """
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise InvalidImage(str(path), f"this recipe's input has the shape {shape}, which no picture has")
    height, width = shape[:2]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as picture:
                if sorted(picture.size) != sorted((width, height)):  # from the header: nothing is unpacked yet
                    raise _other_size(path, picture.size, (width, height))
                upright = ImageOps.exif_transpose(_eight_bits(picture))
                if upright.size != (width, height):
                    raise _other_size(path, upright.size, (width, height))
                pixels = np.asarray(upright.convert("RGB" if shape[2:] == (3,) else "L"))  # (height, width[, 3])
    except FileNotFoundError:
        raise InvalidImage(str(path), "there is no such file") from None
    except InvalidImage:
        raise
    except Exception as error:  # noqa: BLE001 - Pillow's readers raise what they like of broken files
        raise InvalidImage(str(path), f"it cannot be read as a picture ({error})") from None
    levels = pixels.reshape(shape) * (max_level / 255)  # float64, (height, width[, channels])
    return levels.astype(np.float32) if max_level <= 1 else np.rint(levels).astype(np.uint8)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Pillow cuts 16-bit grey levels off at 255 instead of scaling them."""
    if picture.mode not in _SIXTEEN_BITS:
        return picture
    levels = np.asarray(picture).astype(np.int64)
    return Image.fromarray((np.clip(levels, 0, 65_535) >> 8).astype(np.uint8))


def _other_size(path: Path, size: tuple[int, int], expected: tuple[int, int]) -> InvalidImage:
    return InvalidImage(str(path), f"it is {size[0]}×{size[1]} pixels", f"{expected[0]}×{expected[1]}")
