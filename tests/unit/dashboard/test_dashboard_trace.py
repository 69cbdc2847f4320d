"""The trace file keeps to the rules of the trace event format, and is small."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest
from dashboard_samples import sample_snapshot
from worker_samples import attempt, snapshot_of, spans, task, timeline_of, train_key, two_rounds

from dashboard.queries.run_data import RunSnapshot
from dashboard.views.trace import make_trace

PHASES = {"M", "X", "s", "f"}


def trace_of(snapshot: RunSnapshot) -> list[dict[str, Any]]:
    content = json.loads(make_trace(snapshot, timeline_of(snapshot)))
    assert content["displayTimeUnit"] == "ms"
    events: list[dict[str, Any]] = content["traceEvents"]
    return events


def check(events: list[dict[str, Any]]) -> None:
    """What Perfetto and chrome://tracing ask of a file."""
    named = {event["tid"] for event in events if event["ph"] == "M" and event["name"] == "thread_name"}
    labels = [event["args"]["name"] for event in events if event["name"] == "thread_name"]
    assert len(labels) == len(set(labels))
    complete = defaultdict(list)
    for event in events:
        assert event["ph"] in PHASES
        assert isinstance(event["name"], str)
        assert event["name"]
        assert event["pid"] == 1
        if event["ph"] != "M":
            assert isinstance(event["ts"], int)
            assert event["ts"] >= 0
            assert event["tid"] in named
        if event["ph"] == "X":
            assert isinstance(event["dur"], int)
            assert event["dur"] >= 0
            complete[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for stretches in complete.values():
        check_nesting(stretches)
    check_arrows(events, complete)


def check_nesting(stretches: list[tuple[int, int]]) -> None:
    """Within one thread events lie inside one another, or apart."""
    open_until: list[int] = []
    for start, end in sorted(stretches, key=lambda one: (one[0], -one[1])):
        while open_until and open_until[-1] <= start:
            open_until.pop()
        assert not open_until or end <= open_until[-1]
        open_until.append(end)


def check_arrows(events: list[dict[str, Any]], complete: dict[int, list[tuple[int, int]]]) -> None:
    """Each arrow has one tail and one head, not before it, and both lie on an event."""
    arrows = defaultdict(dict)
    for event in events:
        if event["ph"] in "sf":
            assert event["ph"] not in arrows[event["id"]]
            arrows[event["id"]][event["ph"]] = event
            assert any(low <= event["ts"] <= high for low, high in complete[event["tid"]])
    for ends in arrows.values():
        assert ends["s"]["ts"] <= ends["f"]["ts"]
        assert ends["f"]["bp"] == "e"


@pytest.mark.parametrize("state", ["finished", "running", "failed", "cancelled", "preparing"])
def test_the_format_is_kept(state: str) -> None:
    check(trace_of(sample_snapshot(state=state, troubles=True)))  # type: ignore[arg-type]


def test_times_are_microseconds_since_the_first_event() -> None:
    events = trace_of(two_rounds())
    by_name = {event["name"]: event for event in events if event["ph"] == "X"}

    assert by_name["train 1"]["ts"] == 0  # claimed at 1 s
    assert (by_name["round 1"]["ts"], by_name["round 1"]["dur"]) == (0, 9_000_000)
    assert (by_name["combine 2"]["ts"], by_name["combine 2"]["dur"]) == (17_000_000, 2_000_000)
    lanes = [event["args"]["name"] for event in events if event["name"] == "thread_name"]
    assert lanes == ["rounds", "worker 0", "worker 1", "combine 0"]
    tails = [event["ts"] for event in events if event["ph"] == "s"]
    assert tails == [7_000_000 - 1, 9_000_000 - 1, 17_000_000 - 1]  # the slow worker's report; combine; the next report


def test_attempts_that_overlap_get_threads_of_their_own() -> None:
    tasks = [task(train_key(0), attempt("superseded", 1, 20), attempt("done", 5, 9, number=2))]
    batches = [spans(train_key(0), ("init", 3, 5), ("compute", 5, 9), number=2)]
    events = trace_of(snapshot_of(tasks, batches, ended_s=20))

    check(events)
    lanes = [event["args"]["name"] for event in events if event["name"] == "thread_name"]
    assert lanes == ["rounds", "worker 0", "worker 0, beside (1)"]
    named = {event["name"]: event["tid"] for event in events if event["ph"] == "X"}
    assert named["train 1 (superseded)"] != named["train 1"] == named["cold start"]


def test_a_run_without_anything_gives_a_file_too() -> None:
    check(trace_of(sample_snapshot(state="pending")))


def test_64_workers_and_100_rounds_stay_small() -> None:
    snapshot = sample_snapshot(workers=64, rounds=10, steps_per_round=2)
    assert len(make_trace(snapshot, timeline_of(snapshot))) < 500_000
