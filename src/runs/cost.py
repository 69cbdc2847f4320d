"""What an attempt costs on Lambda: the same sums for a budget, for a bill, and for a run on a laptop.

Prices are a dated snapshot in `prices.json` beside this file, with their source.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from contracts.records import TaskKind
from contracts.settings import RunSettings

LIGHT_MEMORY_MB = 1_769
"""Memory of the functions that do not load TensorFlow: just one virtual CPU (AWS: 1,769 MB)."""

_LIGHT: frozenset[TaskKind] = frozenset({"prepare", "combine", "clear"})


@cache
def prices() -> dict[str, Any]:
    """The dated price snapshot, in USD."""
    snapshot: dict[str, Any] = json.loads(Path(__file__).with_name("prices.json").read_text())
    return snapshot


def memory_mb(kind: TaskKind, settings: RunSettings) -> int:
    """The memory of the function that does this kind of task, in MB."""
    return LIGHT_MEMORY_MB if kind in _LIGHT else settings.memory_mb


def attempt_cost_usd(kind: TaskKind, duration_s: float, settings: RunSettings) -> float:
    """USD for one invocation of `duration_s` seconds: GB-seconds and the request."""
    gb_s = duration_s * memory_mb(kind, settings) / 1024
    price = prices()
    return float(gb_s * price["lambda_x86_usd_per_gb_s"] + price["lambda_usd_per_request"])


def reservation_usd(kind: TaskKind, settings: RunSettings) -> float:
    """USD to hold back for one attempt before it is offered: as if it ran to its time limit."""
    return attempt_cost_usd(kind, settings.time_limit_s, settings)
