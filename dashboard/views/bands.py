"""Many workers' values as a few curves: percentiles over the workers, means over steps, smoothing. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]
Places = npt.NDArray[np.int64]

LOW, HIGH = 0.1, 0.9
LONGEST_BLOCK = 512
LARGEST_EXPONENT = 200.0
"""Powers of ten that double precision holds, with room for the values."""


class Band(NamedTuple):
    """Percentiles over the workers that have a value, at each point; NaN where none has.

    Args:
        low, median, high: (points,) 10th, 50th and 90th percentile.
        known: (points,) how many workers have a value.
    """

    low: Floats
    median: Floats
    high: Floats
    known: Places


def band(values: Floats) -> Band:
    """The spread of the workers, as `numpy.nanpercentile` would have it, in a hundredth of its time.

    Args:
        values: (workers, points), NaN where unknown.
    """
    ordered = np.sort(values, axis=0)  # NaN goes last
    known = len(values) - np.isnan(values).sum(axis=0)  # (points,)
    low, middle, high = (_percentile(ordered, known, share) for share in (LOW, 0.5, HIGH))
    return Band(low, middle, high, known)


def median(values: Floats) -> Floats:
    """The median over the workers that have a value: (workers, points) → (points,)."""
    known = len(values) - np.isnan(values).sum(axis=0)
    return _percentile(np.sort(values, axis=0), known, 0.5)


def means(values: Floats, weights: Floats | None, starts: Places) -> Floats:
    """Each worker's weighted mean over stretches of columns: (workers, columns) → (workers, stretches).

    Args:
        values: NaN where unknown; such columns do not count.
        weights: (workers, columns), not negative; None for all alike.
        starts: (stretches,) first column of each, ascending, the first one 0.
    """
    if not len(starts):
        return np.empty((len(values), 0), np.float32)
    unknown = np.isnan(values)
    if weights is None:
        known: Floats = ~unknown
    else:
        known = np.where(unknown, 0, weights).astype(np.float32)  # (workers, columns)
    weighed = np.where(unknown, 0, values)
    if weights is not None:
        weighed *= known
    sums, totals = (np.add.reduceat(each, starts, axis=1, dtype=np.float64) for each in (weighed, known))
    with np.errstate(invalid="ignore"):
        return (sums / totals).astype(np.float32)


def smoothed(values: Floats, factor: float) -> Floats:
    """Exponential moving average, free of the bias towards its beginning; NaN stays NaN and is stepped over.

    Args:
        values: (points,)
        factor: weight of what was before, 0 … below 1.
    """
    found = np.full(len(values), np.nan)
    there = ~np.isnan(values)
    if factor <= 0:
        found[there] = values[there]
        return found
    known = values[there].astype(np.float64)  # (n,)
    averages = np.empty_like(known)
    # y[t] = f·y[t-1] + (1-f)·x[t] has no loop-free form for long series: f^-t would overflow. So block by block.
    block = max(1, min(LONGEST_BLOCK, int(LARGEST_EXPONENT / -np.log10(factor))))
    powers = factor ** np.arange(1, block + 1)  # (block,)
    before = 0.0
    for low in range(0, len(known), block):
        part = known[low : low + block]
        grown = powers[: len(part)]
        averages[low : low + block] = grown * (before + (1 - factor) * np.cumsum(part / grown))
        before = float(averages[low + len(part) - 1])
    found[there] = averages / (1 - factor ** np.arange(1, len(known) + 1))
    return found


def _percentile(ordered: Floats, known: Places, share: float) -> Floats:
    """Linear between the two nearest workers."""
    place = np.maximum(share * (known - 1), 0.0)  # (points,)
    below = place.astype(np.int64)
    above = np.minimum(below + 1, np.maximum(known - 1, 0))
    points = np.arange(ordered.shape[1])
    low, high = ordered[below, points], ordered[above, points]
    found: Floats = low + (high - low) * (place - below).astype(ordered.dtype)
    return found
