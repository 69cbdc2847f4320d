"""The words and numbers of the display: durations, dollars, sparks, phases, reasons."""

from __future__ import annotations

from typing import Any

import pytest
from cli_helpers import RunsInStore, finished, interrupted
from msgspec.structs import replace

from contracts.records import Claim, Task, TaskKey
from runs import words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.00 s"), (0.42, "0.42 s"), (0.996, "1.0 s"), (12.34, "12.3 s"), (59.96, "1 min 00 s"), (125, "2 min 05 s"),
     (3599.6, "1 h 00 min"), (3780, "1 h 03 min"), (-1, "0.00 s")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(7, "0:07"), (725, "12:05"), (3723, "1:02:03"), (-3, "0:00")])
def test_clocks(seconds: float, text: str) -> None:
    assert words.clock(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0.0, "$0.0000"), (1234.5, "$1,234.50"), (0.03124, "$0.0312"), (0.00042, "$0.00042"), (0.0000001, "$0.00000010")],
)
def test_dollars(amount: float, text: str) -> None:
    assert words.usd(amount) == text


def test_sparks() -> None:
    assert words.spark([0.0, 0.5, 1.0], 10) == "▁▅█"
    assert words.spark([1.0, 1.0], 10) == "▁▁"
    assert len(words.spark(list(range(1000)), 12)) == 12
    assert words.spark(list(range(1000)), 12)[-1] == "█"
    assert words.spark([], 5) == ""


@pytest.mark.parametrize(
    ("phase", "claimed", "warm", "text"),
    [
        ("PREPARING", False, False, "starting the functions"),
        ("PREPARING", True, False, "reading the data"),
        ("INITIALISING", False, False, "loading TensorFlow"),
        ("INITIALISING", True, False, "building the model"),
        ("TRAINING", False, False, "round 2 of 4: starting the functions"),
        ("TRAINING", False, True, "round 2 of 4: training, 0 of 2 done"),
        ("TRAINING", True, False, "round 2 of 4: training, 0 of 2 done"),
        ("COMBINING", True, True, "round 2 of 4: combining the updates"),
        ("EVALUATING", True, True, "evaluating on the test set"),
        ("CLEARING", True, True, "clearing up"),
    ],
)
def test_phases(stored: RunsInStore, phase: Any, claimed: bool, warm: bool, text: str) -> None:
    run = replace(interrupted(stored.add()), started_at=1_000.0, phase=phase)
    key = TaskKey(round_index=2, kind="train")
    claim = Claim(nonce="0" * 8, request_id="x", attempt=1, claimed_at=1_004.0, expires_at=2_000.0)
    tasks = {key: Task(key=key, status="CLAIMED" if claimed else "OFFERED", claim=claim)}
    assert words.phase(run, tasks, warm=warm, told_blocks={}) == text


def test_every_reason_has_words(stored: RunsInStore) -> None:
    run = finished(stored.add())
    assert words.ending(run) == "finished: all epochs done"
    assert words.ending(replace(run, status="CANCELLED")) == "stopped"
    assert words.ending(replace(run, status="FAILED", reason="budget")) == "budget reached"
    assert words.ending(replace(run, status="FAILED", reason="NotFinite")) == "failed"
