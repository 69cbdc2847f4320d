"""What a run did, from what the store holds: rounds, workers, attempts, and where the time went. Pure but for `load`.

For display only: nothing that decides reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import NamedTuple

from contracts.ports import RunStore, Telemetry
from contracts.records import AttemptRecord, PredictionBatch, RoundRecord, Run, SpanBatch, StepBatch, Task, TaskKind
from runs import budget

SPAN_ORDER = (
    "init",
    "prepare",
    "extract",
    "build",
    "load",
    "assign",
    "evaluate",
    "compute",
    "write",
    "wait",
    "combine",
    "clear",
)
"""Names of spans in the order in which they happen; others follow behind."""

UNATTENDED_GAP_S = 60.0
"""A longer silence than this means that no engine was at work: the run had been stopped or interrupted."""

NOT_SEEN_TO_END = frozenset({"lost", "superseded"})
"""Outcomes of attempts of which nobody knows when they really ended."""

IDLE = "idle"
KIND_ORDER: tuple[TaskKind, ...] = ("prepare", "extract", "initialise", "train", "combine", "evaluate", "clear")
Interval = tuple[float, float]


class PackedSteps(NamedTuple):
    """Many batches of steps of one worker, summed up: all that a summary or a bill takes from them.

    Between `began_at` and `ended_at` no silence was longer than `UNATTENDED_GAP_S`. `table_writes` and `table_bytes`
    are sums over the batches, as `runs.table_units` counts each.
    """

    worker_index: int
    steps: int
    examples: int
    step_s: float
    began_at: float
    ended_at: float
    table_writes: int
    table_bytes: int


@dataclass(frozen=True)
class RunHistory:
    """All that a store knows of one run. `tasks` are those of every round.

    `packed_steps` are steps that are not in `steps`: whoever follows a run for long keeps no batches.
    """

    run: Run
    tasks: Sequence[Task]
    rounds: Sequence[RoundRecord]
    spans: Sequence[SpanBatch]
    steps: Sequence[StepBatch]
    packed_steps: Sequence[PackedSteps] = ()
    predictions: Sequence[PredictionBatch] = ()


@dataclass
class Tally:
    """Attempts and time of one worker, or of one kind of task.

    `superseded` are attempts whose claim a backup took over: their reports are refused. `failures` are those that
    failed or vanished. `steps` counts computed steps, those of attempts that did not count included; `examples`
    only what was handed in.
    """

    attempts: int = 0
    pauses: int = 0
    failures: int = 0
    superseded: int = 0
    function_s: float = 0.0
    cost_usd: float = 0.0
    steps: int = 0
    step_s: float = 0.0
    examples: int = 0
    peak_memory_bytes: int = 0
    span_s: dict[str, float] = field(default_factory=dict)

    @property
    def steps_per_s(self) -> float | None:
        """While computing; None where no step was recorded."""
        return self.steps / self.step_s if self.step_s > 0 else None


@dataclass(frozen=True)
class TimeShare:
    """A part of the run's time: `share` of all that its side-by-side functions had, 0 … 1."""

    name: str
    seconds: float
    share: float


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

    `elapsed_s` leaves out the time in which nobody conducted the run. `slots` is how many functions ran side by
    side; `time` shares out `slots` × `elapsed_s`, with what nothing was recorded for as "idle".
    """

    run: Run
    elapsed_s: float
    cost_usd: float
    rounds: Sequence[RoundRecord]
    round_s: Mapping[int, float]
    workers: Sequence[Tally]
    kinds: Mapping[TaskKind, Tally]
    slots: int
    time: Sequence[TimeShare]

    @property
    def rounds_done(self) -> int:
        """Committed rounds."""
        return max(0, self.run.round_index - 1)

    @property
    def epochs_done(self) -> float:
        """Passes over the training data."""
        return self.run.examples_seen / self.run.plan.examples if self.run.plan else 0.0


def load(store: RunStore, telemetry: Telemetry, run_id: str) -> RunHistory:
    """Read all about a run.

    Raises:
        RunNotFound: there is no such run.
    """
    run = store.load_run(run_id)
    tasks = [task for index in range(run.round_index + 1) for task in store.load_tasks(run_id, index).values()]
    return RunHistory(
        run=run,
        tasks=tasks,
        rounds=store.load_rounds(run_id),
        spans=telemetry.read_spans(run_id)[0],
        steps=telemetry.read_steps(run_id)[0],
        predictions=telemetry.read_predictions(run_id)[0],
    )


def summarise(history: RunHistory, now: float) -> RunSummary:
    """What the run did.

    Args:
        now: seconds since 1970, where a run that goes on is cut off.
    """
    run = history.run
    activity = merged(_activity(history))
    elapsed_s = _attended_s(run, activity, now)
    current = {task.key: task for task in history.tasks if task.key.round_index == run.round_index}
    kinds = {kind: Tally() for kind in KIND_ORDER}
    workers = [Tally() for _ in range(run.settings.workers)]
    for task in history.tasks:
        for tally in _tallies(task.key.kind, task.key.index, kinds, workers):
            _add_task(tally, task)
    for batch in history.spans:
        for tally in _tallies(batch.key.kind, batch.key.index, kinds, workers):
            for span in batch.spans:
                tally.span_s[span.name] = tally.span_s.get(span.name, 0.0) + span.end_s - span.start_s
    for steps in history.steps:
        for tally in _tallies("train", steps.worker_index, kinds, workers):
            tally.steps += len(steps.losses)
            tally.step_s += sum(steps.durations_ms) / 1000
    for packed in history.packed_steps:
        for tally in _tallies("train", packed.worker_index, kinds, workers):
            tally.steps += packed.steps
            tally.step_s += packed.step_s
    return RunSummary(
        run=run,
        elapsed_s=elapsed_s,
        cost_usd=budget.spent_usd(run, current),
        rounds=history.rounds,
        round_s=_round_seconds(history),
        workers=workers,
        kinds={kind: tally for kind, tally in kinds.items() if tally.attempts or tally.span_s},
        slots=run.settings.concurrency,
        time=_time_shares(kinds.values(), run.settings.concurrency * elapsed_s),
    )


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Disjoint intervals in order that cover the same times."""
    found: list[Interval] = []
    for low, high in sorted(intervals):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found


def _tallies(kind: TaskKind, index: int, kinds: Mapping[TaskKind, Tally], workers: Sequence[Tally]) -> list[Tally]:
    return [kinds[kind], *([workers[index]] if kind == "train" and index < len(workers) else [])]


def _add_task(tally: Tally, task: Task) -> None:
    for record in task.history:
        tally.attempts += 1
        tally.pauses += record.outcome == "paused"
        tally.failures += record.outcome in ("failed", "lost")
        tally.superseded += record.outcome == "superseded"
        tally.function_s += record.ended_at - record.started_at
        tally.cost_usd += record.cost_usd
    if task.claim is not None:
        tally.attempts += 1
    if task.report is not None and task.status == "DONE":
        tally.examples += task.report.examples
        tally.peak_memory_bytes = max(tally.peak_memory_bytes, task.report.peak_memory_bytes)


def _activity(history: RunHistory) -> Iterable[Interval]:
    """When something was certainly at work. How long a lost attempt lived is not known: its steps tell.

    Nor is that of a superseded one, which is paid for to its time limit: that may lie beyond the run's end.
    """
    attempts: Iterable[AttemptRecord] = chain.from_iterable(task.history for task in history.tasks)
    yield from ((a.started_at, a.started_at if a.outcome in NOT_SEEN_TO_END else a.ended_at) for a in attempts)
    yield from ((task.claim.claimed_at, task.claim.claimed_at) for task in history.tasks if task.claim)
    for batch in history.steps:
        yield batch.ended_at - sum(batch.durations_ms) / 1000, batch.ended_at
    yield from ((packed.began_at, packed.ended_at) for packed in history.packed_steps)


def _attended_s(run: Run, activity: Sequence[Interval], now: float) -> float:
    """From start to end, without long silences between two activities."""
    if not run.started_at:
        return 0.0
    points = [(run.started_at, run.started_at), *activity]
    if run.ended_at:
        points.append((run.ended_at, run.ended_at))
    elif now - points[-1][1] <= UNATTENDED_GAP_S:
        points.append((now, now))
    points = merged((low, high) for low, high in points if high >= run.started_at)
    silences = [after[0] - before[1] for before, after in pairwise(points)]
    whole = points[-1][1] - run.started_at
    return whole - sum(gap for gap in silences if gap > UNATTENDED_GAP_S)


def _round_seconds(history: RunHistory) -> dict[int, float]:
    """How long each committed round took: from its first claim to its commit."""
    started: dict[int, float] = {}
    for task in history.tasks:
        for record in task.history:
            index = task.key.round_index
            started[index] = min(started.get(index, record.started_at), record.started_at)
    return {
        record.round_index: record.committed_at - started[record.round_index]
        for record in history.rounds
        if record.round_index in started
    }


def _time_shares(tallies: Iterable[Tally], whole_s: float) -> list[TimeShare]:
    seconds: dict[str, float] = {}
    for tally in tallies:
        for name, value in tally.span_s.items():
            seconds[name] = seconds.get(name, 0.0) + value
    ranks = {name: rank for rank, name in enumerate(SPAN_ORDER)}
    names = sorted(seconds, key=lambda name: (ranks.get(name, len(ranks)), name))
    spare_s = whole_s - sum(seconds.values())
    if spare_s > 0:
        seconds[IDLE] = spare_s
        names.append(IDLE)
    whole_s = max(whole_s, sum(seconds.values()))
    return [TimeShare(name, seconds[name], seconds[name] / whole_s) for name in names] if whole_s > 0 else []
