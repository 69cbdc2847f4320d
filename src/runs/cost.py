"""What an attempt costs on AWS: the same sums for a budget, for a bill, and for a run on a laptop.

GB-seconds, the request, and what it moves through the shared file system. Counted in the default region's prices for
x86_64, which are the higher ones; `runs.bill` counts the rest and other architectures.
"""

from __future__ import annotations

from contracts.records import TaskKind, Transfer
from contracts.settings import RunSettings
from runs.price_list import BYTES_PER_GB, PriceList, price_list
from runs.transfer import NOTHING

LIGHT_MEMORY_MB = 1_769
"""Memory of the functions that do not load TensorFlow: just one virtual CPU (AWS: 1,769 MB)."""

_LIGHT: frozenset[TaskKind] = frozenset({"prepare", "combine", "clear"})


def memory_mb(kind: TaskKind, settings: RunSettings) -> int:
    """The memory of the function that does this kind of task, in MB."""
    return LIGHT_MEMORY_MB if kind in _LIGHT else settings.memory_mb


def transfer_cost_usd(transfer: Transfer, prices: PriceList | None = None) -> float:
    """USD for bytes read from and written to EFS with elastic throughput."""
    found = prices or price_list()
    read_usd = transfer.read_bytes * found.usd("efs_read_usd_per_gb")
    return (read_usd + transfer.written_bytes * found.usd("efs_write_usd_per_gb")) / BYTES_PER_GB


def attempt_cost_usd(kind: TaskKind, duration_s: float, settings: RunSettings, transfer: Transfer = NOTHING) -> float:
    """USD for one invocation of `duration_s` seconds: GB-seconds, the request and the transfer."""
    gb_s = duration_s * memory_mb(kind, settings) / 1024
    prices = price_list()
    compute_usd = gb_s * prices.usd("lambda_x86_64_usd_per_gb_s") + prices.usd("lambda_usd_per_request")
    return compute_usd + transfer_cost_usd(transfer, prices)


def reservation_usd(kind: TaskKind, settings: RunSettings, transfer: Transfer = NOTHING) -> float:
    """USD to hold back for one attempt before it is offered: as if it ran to its time limit and moved the most."""
    return attempt_cost_usd(kind, settings.time_limit_s, settings, transfer)
