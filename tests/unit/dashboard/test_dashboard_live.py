"""How often the dashboard looks for news."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dashboard.parts.live import ENDED_S, IDLE_S, RUNNING_S, interval_s


def snapshot(*, ended: bool, conducted: bool) -> Any:
    return SimpleNamespace(run=SimpleNamespace(ended=ended), conducted=conducted)


@pytest.mark.parametrize(
    ("looked_at", "name", "expected_s"),
    [
        (snapshot(ended=False, conducted=True), "latest", RUNNING_S),
        (snapshot(ended=False, conducted=True), "r-0000000001", RUNNING_S),
        (snapshot(ended=False, conducted=False), "r-0000000001", IDLE_S),
        (snapshot(ended=True, conducted=False), "r-0000000001", ENDED_S),
        (snapshot(ended=True, conducted=False), "latest", IDLE_S),
        (None, "latest", IDLE_S),
    ],
    ids=[
        "running",
        "running, by its id",
        "interrupted",
        "ended, and may be removed",
        "ended, and a newer one may come",
        "no run yet",
    ],
)
def test_a_page_looks_as_often_as_there_can_be_news(looked_at: Any, name: str, expected_s: float) -> None:
    assert interval_s(looked_at, name, paused=False) == expected_s
    assert interval_s(looked_at, name, paused=True) is None
