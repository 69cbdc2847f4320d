"""Spans and attempts as columns, grown by what is new: 51,200 spans are not walked through at every update."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import is_not
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.records import Record, SpanBatch, Task
from dashboard.queries.packed_records import Packed, record_parts, records_of, task_parts
from dashboard.queries.run_data import RunSnapshot
from dashboard.views import phases
from dashboard.views.lanes import KIND_CODES
from dashboard.views.remembered import Remembered

KEPT_RUNS = 8
REQUEST_ID_BYTES = 40
"""Lambda's have 36."""

OUTCOMES: tuple[str, ...] = ("done", "paused", "failed", "lost", "superseded", "at work")
"""How an attempt ended; an outcome's code is its place here."""

DONE, PAUSED, FAILED, LOST, SUPERSEDED, AT_WORK = range(len(OUTCOMES))
NOT_SEEN = (LOST, SUPERSEDED)
"""Nobody saw when these really ended."""

OUTCOME_CODES: dict[str, int] = {name: code for code, name in enumerate(OUTCOMES)}

SPAN = np.dtype([
    ("kind", "u1"), ("index", "i4"), ("round", "i4"), ("attempt", "i4"), ("phase", "u1"), ("start", "f8"),
    ("end", "f8"),
])  # fmt: skip
ATTEMPT = np.dtype([
    ("kind", "u1"), ("index", "i4"), ("round", "i4"), ("attempt", "i4"), ("outcome", "u1"), ("start", "f8"),
    ("end", "f8"), ("cost_usd", "f8"), ("memory_bytes", "i8"), ("request_id", f"S{REQUEST_ID_BYTES}"),
])  # fmt: skip


class Rows(NamedTuple):
    """Structured columns, times in seconds since 1970.

    Args:
        spans: (spans,) of `SPAN`.
        attempts: (attempts,) of `ATTEMPT`. One at work ends when it began. `memory_bytes` is of a done task's last one.
    """

    spans: npt.NDArray[Any]
    attempts: npt.NDArray[Any]


class RowStore:
    """The rows of one run. For many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: _Grown[SpanBatch] = _Grown(SPAN, _span_rows)
        self._attempts: _Grown[Task] = _Grown(ATTEMPT, _attempt_rows)

    def read(self, snapshot: RunSnapshot) -> Rows:
        """The rows as the snapshot has them; walks through what differs from the last one."""
        with self._lock:
            return Rows(self._spans.read(record_parts(snapshot.spans)), self._attempts.read(task_parts(snapshot.tasks)))

    def attempts(self, snapshot: RunSnapshot) -> npt.NDArray[Any]:
        """Only those of the attempts."""
        with self._lock:
            return self._attempts.read(task_parts(snapshot.tasks))


_stores: Remembered[RowStore] = Remembered(KEPT_RUNS)


def row_store(snapshot: RunSnapshot) -> RowStore:
    """The one of the snapshot's run."""
    return _stores.get((snapshot.source.name, snapshot.run.run_id), RowStore)


class _Grown[R: Record]:
    """Rows made of records, of which the first ones are mostly those of the time before."""

    def __init__(self, dtype: np.dtype[Any], rows_of: Callable[[R], Iterable[tuple[Any, ...]]]) -> None:
        self._rows_of = rows_of
        self._seen: Sequence[Packed[R] | R] = ()
        self._ends: list[int] = []  # rows up to each of the parts seen
        self._rows = np.empty(64, dtype)

    def read(self, parts: Sequence[Packed[R] | R]) -> npt.NDArray[Any]:
        """The rows of the records in these parts. What was returned before is never written to again."""
        seen = self._seen
        same = _same_from_the_start(seen, parts)
        del self._ends[same:]
        count = self._ends[-1] if self._ends else 0
        fresh: list[tuple[Any, ...]] = []
        for part in parts[same:]:
            for record in records_of(part):
                fresh.extend(self._rows_of(record))
            self._ends.append(count + len(fresh))
        self._seen = parts
        whole = count + len(fresh)
        is_redone = same < len(seen)  # who holds the old rows keeps them as they were
        if is_redone or whole > len(self._rows):
            capacity = len(self._rows) if whole <= len(self._rows) else 2 * whole
            anew = np.empty(capacity, self._rows.dtype)
            anew[:count] = self._rows[:count]
            self._rows = anew
        self._rows[count:whole] = np.array(fresh, self._rows.dtype)
        return self._rows[:whole]


def _same_from_the_start(old: Sequence[Any], new: Sequence[Any]) -> int:
    """How many parts at the start are the very same ones."""
    differs = map(is_not, old, new)
    return next((place for place, different in enumerate(differs) if different), min(len(old), len(new)))


def _span_rows(batch: SpanBatch) -> Iterator[tuple[Any, ...]]:
    key = batch.key
    kind = KIND_CODES[key.kind]
    for span in batch.spans:
        code = phases.code_of(span.name)
        yield kind, key.index, key.round_index, batch.attempt, code, span.start_s, span.end_s


def _attempt_rows(task: Task) -> Iterator[tuple[Any, ...]]:
    key = task.key
    head = (KIND_CODES[key.kind], key.index, key.round_index)
    last = len(task.history) - 1
    memory = task.report.peak_memory_bytes if task.report is not None and task.status == "DONE" else 0
    for place, record in enumerate(task.history):
        outcome = OUTCOME_CODES.get(record.outcome, FAILED)
        cost, peak = record.cost_usd, memory if place == last else 0
        yield *head, record.attempt, outcome, record.started_at, record.ended_at, cost, peak, _ascii(record.request_id)
    if (claim := task.claim) is not None:
        yield *head, claim.attempt, AT_WORK, claim.claimed_at, claim.claimed_at, 0.0, 0, _ascii(claim.request_id)


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "replace")
