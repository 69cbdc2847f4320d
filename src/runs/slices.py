"""How many combine tasks share a round's updates."""

from __future__ import annotations

from contracts.settings import RunSettings

SLICE_BYTES = 32 << 20
"""Bytes of updates that one combine task should reduce: less is not worth an invocation."""

PART_BYTES = 1 << 20
"""Of one update that a combine task should read: every slice opens every worker's file, which takes as long as some
megabyte of it."""

MAX_SLICES = 64


def slice_count(settings: RunSettings, update_bytes: int) -> int:
    """As many as the settings say; else by the bytes that are to be read, no more than run side by side.

    Args:
        update_bytes: of one worker's update.
    """
    worth_it = min(round(update_bytes * settings.workers / SLICE_BYTES), update_bytes // PART_BYTES)
    return settings.slices or max(1, min(worth_it, settings.concurrency, MAX_SLICES))
