"""Fewer points that look the same: which points of a curve to draw within a window."""

from __future__ import annotations

from typing import Any

import numpy as np
from tsdownsample import MinMaxLTTBDownsampler

Values = np.ndarray[Any, np.dtype[Any]]
Indices = np.ndarray[Any, np.dtype[np.int64]]

_SUPPORTED = frozenset("fiu")


def window(x: Values, low: float | None, high: float | None) -> slice:
    """The stretch of a rising axis that a chart from `low` to `high` needs.

    Args:
        x: (points,), rising.
        low, high: the visible range in values of x; None for "from the beginning", "to the end".

    Returns:
        A slice; it holds the nearest point outside on either side as well, so that lines run to the edge.
    """
    first = 0 if low is None else int(np.searchsorted(x, low, side="left")) - 1
    last = len(x) if high is None else int(np.searchsorted(x, high, side="right")) + 1
    first = min(max(0, first), len(x))
    return slice(first, min(max(first, last), len(x)))


def thin(x: Values, y: Values, count: int) -> Indices:
    """Which points to draw, so that the curve looks as with all of them (MinMaxLTTB).

    Args:
        x: (points,), rising.
        y: (points,), NaN where there is no value. The longest gaps (up to a quarter of `count`) stay gaps.
        count: about how many points are wanted, at least 4.

    Returns:
        (kept,) indices, rising, the first and the last point always among them; all, where there are no more than
        `count`. Otherwise at most `count` + 2, and 3 more for every gap that is kept.

    Raises:
        ValueError: x and y differ in length, or count is less than 4.
    """
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} points and y {len(y)}")
    if count < 4:
        raise ValueError(f"{count} points cannot show a curve, expected at least 4")
    if len(x) <= count:
        return np.arange(len(x), dtype=np.int64)
    known = ~np.isnan(y) if y.dtype.kind == "f" else np.ones(len(y), dtype=bool)
    places = np.flatnonzero(known)
    kept = places[_lttb(x[places], y[places], count)] if len(places) > count else places
    return np.union1d(kept, np.r_[_gap_marks(known, count // 4), 0, len(x) - 1]).astype(np.int64)


def _gap_marks(known: np.ndarray[Any, np.dtype[np.bool_]], most: int) -> Indices:
    """(marks,) of each of the `most` longest gaps: its first point, the last one before it, the first one behind it."""
    edges = np.flatnonzero(np.diff(known.astype(np.int8), prepend=1, append=1))
    begins, ends = edges[::2], edges[1::2]  # (gaps,) first unknown point, first known point behind
    longest = np.argsort(begins - ends, kind="stable")[:most]
    marks = np.concatenate([begins[longest], begins[longest] - 1, ends[longest]])
    return marks[(marks >= 0) & (marks < len(known))]


def _lttb(x: Values, y: Values, count: int) -> Indices:
    # The library takes contiguous arrays of some types only.
    xs, ys = (np.ascontiguousarray(a if a.dtype.kind in _SUPPORTED else a.astype(np.float64)) for a in (x, y))
    return np.asarray(MinMaxLTTBDownsampler().downsample(xs, ys, n_out=count), dtype=np.int64)
