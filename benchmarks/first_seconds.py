"""Where the first seconds of a run went, from its records, and how soon each round began after its dispatch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from statistics import median

from contracts.records import SpanBatch
from runs.summary import RunHistory

PARTS = {
    "init": "functions' INIT: TensorFlow and lambdafit are imported",
    "libraries": "libraries unpacked",
    "import": "TensorFlow imported",
    "build": "model built; step traced, if the data were there",
    "load": "parameters and own state read",
    "assign": "data to tensors, step traced, variables assigned",
    "compute": "steps",
    "evaluate": "validation",
    "write": "update written",
}
"""Spans of a task, and what they are."""

Row = tuple[str, float, float, str]
"""What, from and until when in seconds from process start, and a remark."""


def round_starts_ms(history: RunHistory) -> dict[str, list[float]]:
    """Milliseconds after a round was committed, which dispatches the next one, for each worker of the rounds from 2 on.

    Returns:
        `claimed`: until the worker's function holds its task; `stepping`: until its first step begins.
    """
    committed = {record.round_index: record.committed_at for record in history.rounds}
    claims: list[float] = []
    steps: list[float] = []
    for task in history.tasks:
        before = committed.get(task.key.round_index - 1)
        if task.key.kind == "train" and before is not None and task.history:
            claims.append((task.history[0].started_at - before) * 1e3)
    for batch in history.spans:
        before = committed.get(batch.key.round_index - 1)
        if batch.key.kind == "train" and before is not None:
            steps += [(span.start_s - before) * 1e3 for span in batch.spans if span.name == "compute"]
    return {"claimed": claims, "stepping": steps}


def rows(history: RunHistory, started_at: float, seconds: float) -> list[Row]:
    """What happened when, in the order of beginning: every part of the start, and the later rounds in one row.

    Args:
        started_at: of the process that began the run, in seconds since 1970.
        seconds: so much of the run is looked at.
    """
    found = [("command line, checks, start of the functions' processes", 0.0, history.run.created_at - started_at, "")]
    found += _until_round_2(history, started_at)
    found += _later_rounds(history, started_at, seconds)
    return sorted((row for row in found if row[1] < seconds), key=lambda row: (row[1], row[2]))


def _until_round_2(history: RunHistory, started_at: float) -> Iterator[Row]:
    for batch in history.spans:
        if batch.key.round_index > 1:
            continue
        for span in batch.spans:
            if span.end_s - span.start_s >= 0.001:
                what = PARTS.get(span.name, span.name)
                yield f"{_who(batch)}: {what}", span.start_s - started_at, span.end_s - started_at, ""


def _who(batch: SpanBatch) -> str:
    return f"worker {batch.key.index}, round 1" if batch.key.kind == "train" else batch.key.kind


def _later_rounds(history: RunHistory, started_at: float, seconds: float) -> Iterator[Row]:
    """All rounds from the second on that were committed within the time, as one row."""
    ends = [record.committed_at - started_at for record in history.rounds if record.committed_at - started_at < seconds]
    if len(ends) < 2:
        return
    lasted = median(later - earlier for earlier, later in pairwise(ends))
    within = range(2, len(ends) + 1)
    computing = _computing_s(history, within) / (ends[-1] - ends[0])
    remark = f"{lasted * 1e3:.0f} ms each; workers compute {computing:.0%} of it"
    yield f"rounds 2 to {within[-1]}", ends[0], ends[-1], remark


def _computing_s(history: RunHistory, rounds: range) -> float:
    """Of an average worker."""
    trained = [batch for batch in history.spans if batch.key.kind == "train" and batch.key.round_index in rounds]
    spans = [span for batch in trained for span in batch.spans if span.name == "compute"]
    return sum(span.end_s - span.start_s for span in spans) / history.run.settings.workers
