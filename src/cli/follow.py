"""Follows a run through the store: what a display shows, read in increments, never from the run's own threads."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from contracts.ports import RunStore, Telemetry
from contracts.records import RoundRecord, Run, StepBatch, Task, TaskKey
from runs import budget, words
from runs.block_progress import ToldBlocks, blocks_stored
from training.shards import epochs_of_round, validation_part

RATE_WINDOW_S = 10.0
MAX_LOSSES = 2_000
WorkerState = Literal["waiting", "starting", "training", "paused", "again", "done", "failed"]


@dataclass(frozen=True)
class WorkerNow:
    """One worker in the current round."""

    worker_index: int
    state: WorkerState
    steps: int
    total_steps: int
    loss: float | None
    steps_per_s: float | None
    hand_overs: int


@dataclass(frozen=True)
class Snapshot:
    """A run as a display shows it.

    `fraction` is how much of all rounds is done, 0 … 1; while a backbone's outputs are computed, how much of these.
    `told_blocks` is worker → blocks of them that it has told of. `losses` has one entry a committed round. `events` are
    the failures found since the snapshot before.
    """

    run: Run
    tasks: Mapping[TaskKey, Task]
    workers: Sequence[WorkerNow]
    fraction: float
    told_blocks: Mapping[int, int]
    losses: Sequence[float]
    loss: float | None
    validation_accuracy: float | None
    examples_per_s: float | None
    epochs: float
    cost_usd: float
    elapsed_s: float
    left_s: float | None
    events: Sequence[str]


class Follower:
    """Reads a run again and again, each time only what is new.

    Args:
        now: the clock, in seconds since 1970.
        since: when to count the elapsed time from, at the earliest: a resumed run has been at rest before.
    """

    def __init__(
        self, store: RunStore, telemetry: Telemetry, run_id: str, now: Callable[[], float], since: float = 0.0
    ) -> None:
        self._store = store
        self._telemetry = telemetry
        self._run_id = run_id
        self._now = now
        self._since = since
        self._first_progress: tuple[float, float] | None = None
        self._steps_cursor = ""
        self._blocks = ToldBlocks()
        self._newest: dict[int, StepBatch] = {}
        self._recent: deque[StepBatch] = deque()
        self._rounds_seen = 0
        self._losses: deque[float] = deque(maxlen=MAX_LOSSES)
        self._failures: dict[TaskKey, int] = {}

    def look(self) -> Snapshot:
        """The run as it stands now."""
        run = self._store.load_run(self._run_id)
        tasks = self._store.load_tasks(self._run_id, run.round_index)
        now = self._now()
        self._read_rounds()
        self._read_steps(now, run)
        workers = [self._worker(run, tasks, index) for index in range(run.settings.workers)]
        told_blocks = dict(self._blocks.by_worker)
        fraction = _fraction(run, tasks, workers, told_blocks)
        losses = [worker.loss for worker in workers if worker.loss is not None]
        live = sum(losses) / len(losses) if losses and run.phase == "TRAINING" and not run.ended else None
        return Snapshot(
            run=run,
            tasks=tasks,
            workers=workers,
            fraction=fraction,
            told_blocks=told_blocks,
            losses=tuple(self._losses),
            loss=run.train_loss if live is None else live,
            validation_accuracy=run.validation.get("val/accuracy"),
            examples_per_s=self._examples_per_s(now),
            epochs=run.examples_seen / run.plan.examples if run.plan else 0.0,
            cost_usd=budget.spent_usd(run, tasks),
            elapsed_s=(run.ended_at or now) - max(run.started_at or now, self._since),
            left_s=self._left_s(fraction, now),
            events=self._new_failures(run, tasks),
        )

    def _read_rounds(self) -> None:
        for record in self._store.load_rounds(self._run_id, after=self._rounds_seen):
            self._rounds_seen = record.round_index
            self._losses.append(_loss(record))

    def _read_steps(self, now: float, run: Run) -> None:
        batches, self._steps_cursor = self._telemetry.read_steps(self._run_id, self._steps_cursor)
        for batch in batches:
            if not self._blocks.hear(batch) and batch.losses:
                self._newest[batch.worker_index] = batch
                self._recent.append(batch)
        window_s = max(RATE_WINDOW_S, run.settings.workers / 16)  # twice the time between two of a worker's batches
        while self._recent and self._recent[0].ended_at < now - window_s:
            self._recent.popleft()

    def _examples_per_s(self, now: float) -> float | None:
        if not self._recent:
            return None
        first = min(batch.ended_at - sum(batch.durations_ms) / 1000 for batch in self._recent)
        return sum(sum(batch.examples) for batch in self._recent) / max(0.1, now - first)

    def _worker(self, run: Run, tasks: Mapping[TaskKey, Task], index: int) -> WorkerNow:
        task = tasks.get(TaskKey(round_index=run.round_index, kind="train", index=index))
        newest = self._newest.get(index)
        here = newest if newest and task and newest.round_index == run.round_index else None
        total = total_steps(run, index)
        steps = here.first_step + len(here.losses) if here else 0
        state = _worker_state(run, task)
        step_s = sum(newest.durations_ms) / 1000 if newest else 0.0
        return WorkerNow(
            worker_index=index,
            state=state,
            steps=total if state == "done" else min(steps, total),
            total_steps=total,
            loss=sum(newest.losses) / len(newest.losses) if newest else None,
            steps_per_s=len(newest.losses) / step_s if newest and step_s > 0 else None,
            hand_overs=sum(record.outcome == "paused" for record in task.history) if task else 0,
        )

    def _left_s(self, fraction: float, now: float) -> float | None:
        """As the rounds since the display began went on average; None before that says anything."""
        if self._first_progress is None or fraction < self._first_progress[0]:  # less: features are there, rounds begin
            self._first_progress = (fraction, now) if fraction > 0 else None
            return None
        gained, took_s = fraction - self._first_progress[0], now - self._first_progress[1]
        return took_s * (1 - fraction) / gained if gained > 0.01 and took_s > 2 else None

    def _new_failures(self, run: Run, tasks: Mapping[TaskKey, Task]) -> list[str]:
        events = []
        for key, task in tasks.items():
            told = self._failures.get(key, 0)
            # What fails for good ends the run, whose last screen tells it.
            if task.failures > told and task.error is not None and task.status != "FAILED":
                who = f"worker {key.index}" if key.kind == "train" else key.kind
                tried = f"attempt {task.failures} of {run.settings.max_attempts}"
                first_line = task.error.message.splitlines()[0]
                events.append(
                    f"round {key.round_index}, {who}: {task.error.number} {task.error.name}, {tried}: {first_line}"
                )
            self._failures[key] = task.failures
        return events


def doing(snapshot: Snapshot) -> str:
    """What the run is doing, in words."""
    warm = snapshot.examples_per_s is not None
    return words.phase(snapshot.run, snapshot.tasks, warm=warm, told_blocks=snapshot.told_blocks)


def total_steps(run: Run, worker_index: int) -> int:
    """How many steps a worker takes in the current round."""
    plan, settings = run.plan, run.settings
    if plan is None or not 1 <= run.round_index <= plan.total_rounds:
        return 0
    part = (run.round_index - 1) % plan.rounds_per_epoch
    first = part * plan.examples_per_round
    last = plan.examples if part == plan.rounds_per_epoch - 1 else first + plan.examples_per_round
    low, high = validation_part(last - first, settings.workers, worker_index)
    return math.ceil((high - low) / settings.batch_size) * len(epochs_of_round(plan, run.round_index, settings.epochs))


def _worker_state(run: Run, task: Task | None) -> WorkerState:
    if task is None:
        return "waiting"
    match task.status:
        case "OFFERED":
            return "starting"
        case "CLAIMED":
            return "training"
        case "DONE":
            return "done"
        case "FAILED":
            return "failed"
        case "WAITING":
            return "again" if task.error is not None else "paused" if task.resume is not None else "waiting"


def _fraction(
    run: Run, tasks: Mapping[TaskKey, Task], workers: Sequence[WorkerNow], told_blocks: Mapping[int, int]
) -> float:
    if run.status == "FINISHED" or run.phase in ("EVALUATING", "CLEARING"):
        return 1.0
    if run.phase == "EXTRACTING":
        blocks = blocks_stored(run, tasks, told_blocks)
        return blocks.stored / blocks.total
    if run.plan is None:
        return 0.0
    total = sum(worker.total_steps for worker in workers)
    here = sum(worker.steps for worker in workers) / total if total else 0.0
    done = run.round_index - 1 + (1.0 if run.phase == "COMBINING" else here)
    return min(1.0, max(0.0, done / run.plan.total_rounds))


def _loss(record: RoundRecord) -> float:
    return record.metrics.get("train/loss", math.nan)
