"""What processes and a home hold: memory, descriptors, files, bytes; and how it grows."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import psutil

MOST_PAIRS_OF = 300
"""Points that a slope is taken from at most: it looks at all pairs."""


class Held(NamedTuple):
    """What one process holds at a moment."""

    resident_bytes: int
    descriptors: int


def held_by(process: psutil.Process) -> Held | None:
    """None where it is gone."""
    try:
        return Held(int(process.memory_info().rss), int(process.num_fds()))
    except psutil.Error:
        return None


def environments() -> dict[int, Held]:
    """What the environments that this process has started hold, by pid."""
    found = {child.pid: held_by(child) for child in psutil.Process().children()}
    return {pid: held for pid, held in found.items() if held is not None}


class Stored(NamedTuple):
    """What lies below a folder."""

    bytes: int
    files: int


def stored_below(folder: Path) -> Stored:
    """All files, whoever made them."""
    sizes = list(_sizes(folder))
    return Stored(sum(sizes), len(sizes))


def home_bytes(home: Path) -> dict[str, int]:
    """Bytes in a home by what they are: runs.db, telemetry.db (with their logs), shared, logs."""
    found = {name: stored_below(home / name).bytes for name in ("shared", "logs")}
    for store in ("runs.db", "telemetry.db"):
        found[store] = _size(home / store)
        found[f"{store}-wal"] = _size(home / f"{store}-wal")
    return found


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Growth of the second by the first: the median over all pairs, so that single spikes count for nothing."""
    step = max(1, len(points) // MOST_PAIRS_OF)
    pairs = combinations(points[::step], 2)
    slopes = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairs if after[0] > before[0]]
    return statistics.median(slopes) if slopes else float("nan")


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99, the most, and how many."""
    ordered = sorted(values)
    if not ordered:
        return {"p50": float("nan"), "p95": float("nan"), "p99": float("nan"), "max": float("nan"), "n": 0}
    picked = {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in _SHARES.items()}
    return picked | {"max": ordered[-1], "n": len(ordered)}


_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def _sizes(folder: Path) -> Iterator[int]:
    for path, _, names in os.walk(folder):
        for name in names:
            size = _size(Path(path, name))
            if size >= 0:
                yield size


def _size(path: Path) -> int:
    """0 where it is gone."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
