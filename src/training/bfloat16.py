"""bfloat16 with NumPy alone: the upper half of a float32, rounded to the nearest, ties to even.

A half is held as a uint16. Rounding keeps 8 of a value's 24 bits and all of its range; what it takes away can be kept
and added to the next value (error feedback: Seide et al. 2014; Karimireddy et al., arXiv 1901.09847).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BFLOAT16 = "bfloat16"
"""The type's name in reports. NumPy knows it by none: files hold uint16."""

_BLOCK = 1 << 15
"""Values at a time: what is worked on stays in the cache."""

_QUIET = np.uint16(0x40)
"""The bit that keeps a NaN one where its other bits are cut off."""

Halves = npt.NDArray[np.uint16]
Floats = npt.NDArray[np.floating[Any]]


def to_bfloat16(values: Floats) -> Halves:
    """Rounded, shape as given. What is larger than every bfloat16 becomes infinite; NaN stays NaN.

    Args:
        values: shape (count,).
    """
    halves = np.empty(values.size, dtype=np.uint16)
    for start in range(0, values.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        halves[block] = _rounded(values[block].astype(np.float32))
    return halves


def from_bfloat16(halves: Halves, out: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.float32]:
    """The float32 values, exactly, shape as given.

    Args:
        halves: shape (count,).
        out: filled and returned if given; shape (count,).
    """
    values = np.empty(halves.size, dtype=np.float32) if out is None else out
    bits = values.view(np.uint32)
    np.copyto(bits, halves)
    np.left_shift(bits, 16, out=bits)
    return values


def round_with_feedback(values: Floats, error: Halves | None) -> tuple[Halves, Halves]:
    """Round values and what rounding took from those before; both in one pass.

    Args:
        values: shape (count,); unchanged.
        error: what was taken before, shape (count,); None for nothing.
    Returns:
        the rounded values, and what rounding took from them now, itself as bfloat16: of shape (count,).
    """
    halves = np.empty(values.size, dtype=np.uint16)
    left = np.empty(values.size, dtype=np.uint16)
    for start in range(0, values.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        wanted = values[block].astype(np.float32)  # (block,), a copy
        if error is not None:
            wanted += from_bfloat16(error[block])
        halves[block] = _rounded(wanted)
        with np.errstate(invalid="ignore"):  # infinity less itself: the combine finds the infinity
            wanted -= from_bfloat16(halves[block])
        left[block] = _rounded(wanted)
    return halves, left


def _rounded(values: npt.NDArray[np.float32]) -> Halves:
    """Of one block, shape (block,)."""
    bits = values.view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    odd += np.uint32(0x7FFF)
    odd += bits  # of a NaN this may wrap round: it is set right below
    odd >>= np.uint32(16)
    halves = odd.astype(np.uint16)
    missing = np.isnan(values)
    if missing.any():
        halves[missing] = (bits[missing] >> np.uint32(16)).astype(np.uint16) | _QUIET
    return halves
