"""Watches the resident memory of busy environments.

Address-space limits say nothing about TensorFlow, and memory cgroups need rights that a laptop's user lacks, so
the engine looks twice a second. A process that takes all memory within half a second is not caught.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable

import psutil

from engines.local_lambda.scheduler import Scheduler

INTERVAL_S = 0.5


def meter(pid: int) -> Callable[[], int]:
    """A function that reads the resident bytes of this process; 0 once it is gone."""
    try:
        process = psutil.Process(pid)
    except psutil.Error:
        return lambda: 0

    def read() -> int:
        try:
            return int(process.memory_info().rss)
        except psutil.Error:
            return 0

    return read


def group_members(groups: set[int]) -> dict[int, list[int]]:
    """The processes of each process group."""
    members: dict[int, list[int]] = {group: [] for group in groups}
    for pid in psutil.pids():
        try:
            group = os.getpgid(pid)
        except OSError:
            continue
        if group in members:
            members[group].append(pid)
    return members


def watch(scheduler: Scheduler, stopped: threading.Event) -> None:
    """Report memory to the scheduler until `stopped`. One thread does this for all environments."""
    while not stopped.wait(INTERVAL_S):
        working = scheduler.working()
        if not working:
            continue
        members = group_members({one.pid for one in working})
        for one in working:
            resident_bytes = sum(meter(pid)() for pid in members[one.pid])  # pages they share count for each
            scheduler.post(functools.partial(scheduler.note_memory, one, resident_bytes))
