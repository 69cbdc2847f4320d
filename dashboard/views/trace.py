"""A run as a trace file: the JSON that Perfetto and chrome://tracing open. Pure.

One process, the run; one thread a lane. Within a thread "X" events must lie inside one another or apart, so attempts
that overlap, a slow one and its backup, get threads of their own. Times are microseconds since the first event, as the
clock went: nothing is cut out. An arrow leads from the report that a round waited for to its combine task, and from
there to the first worker of the next round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from contracts.records import Span, TaskKey
from dashboard.queries.run_data import RunSnapshot
from dashboard.views import phases
from dashboard.views.lanes import KIND_CODES, MANY
from dashboard.views.timeline import Timeline
from runs import words

PID = 1
ROUNDS_TID = 1
TIDS_A_LANE = 16
"""The threads of a lane are numbered from here times (lane + 1)."""

Event = dict[str, Any]


class _Try(NamedTuple):
    """One attempt; `start` and `end` in s since 1970, with all its spans in between."""

    lane: int
    start: float
    end: float
    key: TaskKey
    attempt: int
    outcome: str
    request_id: str
    spans: tuple[Span, ...]


def make_trace(snapshot: RunSnapshot, timeline: Timeline) -> bytes:
    """The trace file, UTF-8 JSON."""
    tries = sorted(_tries(snapshot, timeline))
    base = min((one.start for one in tries), default=snapshot.run.created_at)
    tids = _tids(tries)
    events: list[Event] = [
        _named("process_name", 0, f"{words.recipe(snapshot.run)} {snapshot.run.run_id}"),
        *_thread_names(timeline, set(tids)),
        *_rounds(timeline, base),
    ]
    for one, tid in zip(tries, tids, strict=True):
        events += _events(one, tid, base)
    events += _arrows(tries, tids, base)
    other = {"run_id": snapshot.run.run_id, "began": base, "workers": snapshot.run.settings.workers}
    return msgspec.json.encode({"displayTimeUnit": "ms", "otherData": other, "traceEvents": events})


def _tries(snapshot: RunSnapshot, timeline: Timeline) -> Iterator[_Try]:
    spans = {(batch.key, batch.attempt): batch.spans for batch in snapshot.spans}
    first = timeline.lanes.first
    newest = timeline.rounds.newest
    for key, task in snapshot.tasks.items():
        code = KIND_CODES[key.kind]
        lane = int(first[code]) + (key.index if code in MANY else 0)
        found = [
            (record.attempt, record.outcome, record.started_at, record.ended_at, record.request_id)
            for record in task.history
        ]
        if (claim := task.claim) is not None:
            found.append((claim.attempt, "at work", claim.claimed_at, max(claim.claimed_at, newest), claim.request_id))
        for attempt, outcome, start, end, request_id in found:
            own = spans.get((key, attempt), ())
            start = min([start, *(span.start_s for span in own)])
            end = max([end, *(span.end_s for span in own)])
            yield _Try(lane, start, end, key, attempt, outcome, request_id, own)


def _tids(tries: Sequence[_Try]) -> list[int]:
    """The thread of each attempt: the first one of its lane that is free."""
    free_at: dict[int, float] = {}
    found = []
    for one in tries:
        first = TIDS_A_LANE * (1 + one.lane)
        tid = next((tid for tid in range(first, first + TIDS_A_LANE) if free_at.get(tid, 0.0) <= one.start), first)
        free_at[tid] = one.end
        found.append(tid)
    return found


def _us(at: float, base: float) -> int:
    return round((at - base) * 1e6)


def _named(what: str, tid: int, name: str) -> Event:
    return {"ph": "M", "name": what, "pid": PID, "tid": tid, "args": {"name": name}}


def _thread_names(timeline: Timeline, tids: set[int]) -> Iterator[Event]:
    yield _named("thread_name", ROUNDS_TID, "rounds")
    for tid in sorted(tids):
        lane, beside = divmod(tid - TIDS_A_LANE, TIDS_A_LANE)
        label = timeline.lanes.labels[lane]
        yield _named("thread_name", tid, f"{label}, beside ({beside})" if beside else label)
        yield {"ph": "M", "name": "thread_sort_index", "pid": PID, "tid": tid, "args": {"sort_index": tid}}


def _complete(name: str, tid: int, low: float, high: float, base: float) -> Event:
    start = _us(low, base)
    return {"ph": "X", "name": name, "pid": PID, "tid": tid, "ts": start, "dur": max(0, _us(high, base) - start)}


def _rounds(timeline: Timeline, base: float) -> Iterator[Event]:
    """From one commit to the next: they never overlap."""
    times = timeline.rounds
    for index in times.committed:
        began = max(base, float(np.nan_to_num(times.began[index], nan=times.commit[index])))
        yield _complete(f"round {index}", ROUNDS_TID, began, float(times.commit[index]), base)


def _events(one: _Try, tid: int, base: float) -> Iterator[Event]:
    mark = "" if one.outcome in ("done", "at work") else f" ({one.outcome})"
    event = _complete(f"{one.key.kind} {one.key.round_index}{mark}", tid, one.start, one.end, base)
    details = {"round": one.key.round_index, "attempt": one.attempt, "outcome": one.outcome}
    yield event | {"args": details | {"request_id": one.request_id}}
    for span in one.spans:
        yield _complete(phases.WORDS.get(span.name, span.name), tid, span.start_s, span.end_s, base)


def _arrows(tries: Sequence[_Try], tids: Sequence[int], base: float) -> Iterator[Event]:
    """Last report → combine, combine → next round, where all of these are known."""
    last: dict[int, tuple[float, int]] = {}
    first: dict[int, tuple[float, int]] = {}
    combines: dict[int, tuple[float, float, int]] = {}
    for one, tid in zip(tries, tids, strict=True):
        index = one.key.round_index
        if one.key.kind == "train" and one.outcome == "done":
            last[index] = max(last.get(index, (one.end, tid)), (one.end, tid))
            first[index] = min(first.get(index, (one.start, tid)), (one.start, tid))
        if one.key.kind == "combine" and one.outcome == "done":
            combines[index] = max(combines.get(index, (0.0, 0.0, 0)), (one.start, one.end, tid))
    for index, (start, end, tid) in sorted(combines.items()):
        if index in last and last[index][0] <= start:
            yield from _arrow(2 * index, last[index], (start, tid), base)
        if index + 1 in first and end <= first[index + 1][0]:
            yield from _arrow(2 * index + 1, (end, tid), first[index + 1], base)


def _arrow(number: int, tail: tuple[float, int], head: tuple[float, int], base: float) -> Iterator[Event]:
    common = {"name": "round", "cat": "round", "id": number, "pid": PID}
    yield common | {"ph": "s", "tid": tail[1], "ts": max(0, _us(tail[0], base) - 1)}  # inside of what ends there
    yield common | {"ph": "f", "bp": "e", "tid": head[1], "ts": _us(head[0], base)}
