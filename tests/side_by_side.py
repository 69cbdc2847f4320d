"""How the tests are shared out where several processes run them (`make test`, `pytest -n 2`).

The tests of a file stay together, in their order: they share what is costly to make. What takes longest begins first,
so that no process is left alone with it at the end.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import pytest

MOST = 4
"""Processes: each may hold TensorFlow, and start processes of its own."""

LONGEST_FIRST = (
    "tests/unit/libraries/test_real_archive.py",
    "tests/faults/test_local_faults.py",
    "tests/rehearsal/test_rehearsal.py",
    "tests/simulation/test_simulation.py",
    "tests/integration/test_cli.py",
    "tests/browser",
    "tests/simulation",
    "tests/model",
    "tests/template",
    "tests/integration",
    "tests/rehearsal",
    "tests/faults",
    "tests/security",
    "tests/unit/stores/test_dynamodb_capacity.py",
    "tests/unit/libraries",
    "tests/unit/training",
    "tests/unit/dashboard",
)
"""Files and folders; what is not named comes last."""

TOGETHER = {"tests/template/test_iam_rehearsed.py": "tests/rehearsal/test_rehearsal.py"}
"""Files whose tests use what another file's have made: file → that file."""


def processes() -> int:
    """How many `-n auto` means: two more than processors, as many tests wait; no processor is idle then."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable + 2, MOST)


def share_of(node_id: str) -> str:
    """The share that a test belongs to: its file, or the one that it needs."""
    file = node_id.partition("::")[0]
    return TOGETHER.get(file, file)


def rank(node_id: str) -> int:
    """Where a test's share stands among all; smaller is earlier."""
    places = [share_of(node_id), *map(str, PurePosixPath(share_of(node_id)).parents)]
    return min(LONGEST_FIRST.index(place) if place in LONGEST_FIRST else len(LONGEST_FIRST) for place in places)


def make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The scheduler of pytest-xdist that shares out by `share_of`, in the order of `rank`."""
    from xdist.scheduler import LoadScopeScheduling

    class Shares(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return share_of(nodeid)

    config.option.loadscopereorder = False
    return Shares(config, log)


def in_order[T: pytest.Item](items: Sequence[T]) -> list[T]:
    """By share; what needs another file's after it."""
    return sorted(
        items, key=lambda item: (rank(item.nodeid), share_of(item.nodeid), item.nodeid.partition("::")[0] in TOGETHER)
    )
