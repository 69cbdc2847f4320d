"""Small runs of workers with times that can be checked by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dashboard_samples import STARTED_AT, sample_snapshot
from msgspec.structs import replace

from contracts.records import AttemptRecord, Claim, Report, Span, SpanBatch, Task, TaskKey
from dashboard.queries.run_data import RunSnapshot
from dashboard.views.task_rows import RowStore
from dashboard.views.timeline import Timeline, make_timeline

T = STARTED_AT
Stretch = tuple[str, float, float]
"""A span's name, start and end, in seconds since the run began."""


def attempt(outcome: str, start_s: float, end_s: float, number: int = 1, cost_usd: float = 0.001) -> AttemptRecord:
    """An ended attempt."""
    return AttemptRecord(
        attempt=number, nonce=f"n{number}", outcome=outcome, started_at=T + start_s, ended_at=T + end_s,
        cost_usd=cost_usd, request_id=f"request-{start_s:g}-{number}",
    )  # fmt: skip


def train_key(worker: int, round_index: int = 1) -> TaskKey:
    return TaskKey(round_index=round_index, kind="train", index=worker)


def combine_key(round_index: int = 1) -> TaskKey:
    return TaskKey(round_index=round_index, kind="combine", generation=1)


def task(key: TaskKey, *history: AttemptRecord, claimed_s: float | None = None, memory_bytes: int = 0) -> Task:
    """A task that is done, or claimed at `claimed_s`."""
    if claimed_s is not None:
        number = len(history) + 1
        claim = Claim(
            nonce="open", request_id=f"open-{number}", attempt=number, claimed_at=T + claimed_s, expires_at=T + 1e4
        )
        return Task(key=key, status="CLAIMED", attempt=number, claim=claim, history=history)
    report = Report(outcome="done", nonce="n1", peak_memory_bytes=memory_bytes)
    return Task(key=key, status="DONE", attempt=len(history), report=report, history=history)


def spans(key: TaskKey, *stretches: Stretch, number: int = 1) -> SpanBatch:
    """Where an attempt's time went."""
    found = tuple(Span(name=name, start_s=T + low, end_s=T + high) for name, low, high in stretches)
    return SpanBatch(key=key, attempt=number, request_id="request", spans=found)


def snapshot_of(
    tasks: Sequence[Task],
    batches: Sequence[SpanBatch] = (),
    commits_s: Mapping[int, float] | None = None,
    *,
    workers: int = 2,
    ended_s: float | None = None,
    newest_s: float = 0.0,
    conducted: bool = True,
) -> RunSnapshot:
    """A run that began at 0 s, with just these records and no steps."""
    like = sample_snapshot(workers=workers, rounds=2)
    run = like.run
    record = like.rounds[0]
    run = replace(
        run, started_at=T, created_at=T, ended_at=T + ended_s if ended_s else 0.0,
        status="FINISHED" if ended_s else "RUNNING",
    )  # fmt: skip
    rounds = tuple(
        replace(record, round_index=index, committed_at=T + at_s) for index, at_s in (commits_s or {}).items()
    )
    steps = like.steps._replace(**{name: getattr(like.steps, name)[..., :0] for name in like.steps._fields})
    return like._replace(
        run=run, rounds=rounds, tasks={one.key: one for one in tasks}, spans=tuple(batches), steps=steps,
        packed_steps=(), newest_at=T + (ended_s or newest_s), conducted=conducted and not ended_s,
    )  # fmt: skip


def timeline_of(snapshot: RunSnapshot) -> Timeline:
    """Its timeline, made from nothing."""
    return make_timeline(snapshot, RowStore().read(snapshot))


def two_rounds() -> RunSnapshot:
    """Two workers, two rounds of 10 s; worker 1 is the slow one, by 2 s and 4 s.

    Round 1: worker 0 from 1 to 6, worker 1 from 1 to 8, combine from 9, commit at 10.
    Round 2: worker 0 from 11 to 14, worker 1 from 11 to 18, combine from 18, commit at 20.
    """
    history = {
        train_key(0): (1, 6), train_key(1): (1, 8), combine_key(): (9, 10),
        train_key(0, 2): (11, 14), train_key(1, 2): (11, 18), combine_key(2): (18, 20),
    }  # fmt: skip
    tasks = [
        task(key, attempt("done", low, high), memory_bytes=(1 + key.index) << 20)
        for key, (low, high) in history.items()
    ]
    batches = [
        spans(key, ("load", low, low + 1), ("compute", low + 1, high)) if key.kind == "train"
        else spans(key, ("combine", low, high))
        for key, (low, high) in history.items()
    ]  # fmt: skip
    return snapshot_of(tasks, batches, {1: 10, 2: 20}, ended_s=20)
