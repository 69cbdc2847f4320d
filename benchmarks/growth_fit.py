"""Straight lines through measured points: least squares of the relative error, no coefficient below 0. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

CONSTANT = "base_s"
Row = Mapping[str, float]


def fit(rows: Sequence[Row], seconds: Sequence[float]) -> dict[str, float]:
    """Coefficients c ≥ 0 of  seconds ≈ Σ c[name] row[name].

    Each point counts by its relative error, so that small ones are met as well as large ones. A term whose
    coefficient comes out below 0 is left out, the worst one first, and the others are fitted anew; so is one whose
    amount is the same everywhere, as nothing then tells it from the constant.

    Args:
        rows: one a point, all with the same names; `base_s` is 1 in each.
        seconds: measured, above 0.
    """
    names = list(rows[0])
    values = np.asarray(seconds, dtype=float)  # (points,)
    matrix = np.array([[row[name] for name in names] for row in rows], dtype=float)  # (points, terms)
    scale = np.abs(matrix).max(axis=0)
    scale[scale == 0] = 1.0
    weighted = matrix / scale / values[:, None]
    kept = [index for index in range(len(names)) if names[index] == CONSTANT or np.ptp(matrix[:, index]) > 0]
    found = np.zeros(len(names))
    while kept:
        solution, *_ = np.linalg.lstsq(weighted[:, kept], np.ones(len(values)), rcond=None)
        if solution.min() >= 0:
            found[kept] = solution
            break
        kept.pop(int(solution.argmin()))
    return {name: float(value) for name, value in zip(names, found / scale, strict=True)}


def relative_errors(estimated: Sequence[float], measured: Sequence[float]) -> list[float]:
    """|estimate − measured| / measured, point by point."""
    return [abs(one - two) / two for one, two in zip(estimated, measured, strict=True)]
