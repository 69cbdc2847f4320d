"""A run that nobody trained, recorded as a real one is: the same records by the same transitions, from one seed.

For tests and benchmarks of what looks at runs. Losses fall with noise, workers differ in speed, the last one is slow.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any, NamedTuple

from msgspec.structs import replace

from benchmarks.made_predictions import Seen, prediction_batch, validated
from benchmarks.made_shape import PARAMETERS, Shape, curves, made_settings, results
from contracts.errors import InvocationFailed
from contracts.ports import RunStore, Telemetry
from contracts.records import (
    ErrorRecord,
    FileRef,
    Report,
    Run,
    RunStatus,
    Span,
    SpanBatch,
    StepBatch,
    Task,
    TaskKey,
    Transfer,
)
from runs import transitions
from runs.decide import ended
from runs.stages import advance, required_tasks
from training import shards

FINGERPRINT = "tensorflow 2.21.0, keras 3.15.1, x86_64 avx2+fma, oneDNN on, 1 thread, deterministic"
LOST = InvocationFailed("worker", "its process ended by signal 9", "a report").record()


class Attempt(NamedTuple):
    """One attempt at one round's steps: those from `low` on, up to `high`."""

    low: int
    high: int
    outcome: str = "done"


class MadeRun:
    """Writes a run into a store, round by round. Nothing depends on the clock.

    Args:
        store: also the telemetry.
    """

    def __init__(self, store: Any, shape: Shape) -> None:
        self.shape = shape
        self.curves = curves(shape)
        self._store: RunStore = store
        self._telemetry: Telemetry = store
        self._draw = random.Random(shape.seed)  # noqa: S311 - no secrets
        self._seen = Seen(shape.seed)
        self._tasks: dict[TaskKey, Task] = {}
        self.now = shape.started_at
        self.run = Run(
            run_id=shape.run_id,
            settings=made_settings(shape),
            code_version="0.1.0+made",
            created_at=self.now,
            deadline_at=self.now + 86_400,
        )
        self._store.create_run(self.run)

    # --- the stages ---

    def start(self) -> None:
        """Somebody conducts it."""
        self._save(replace(self.run, version=2, status="RUNNING", started_at=self.now))

    def begin(self) -> None:
        """Data prepared, parameters initialised: the first round is open."""
        if self.run.status == "PENDING":
            self.start()
        for spans in ((("init", 0.4), ("prepare", 2.5)), (("init", 3.0), ("build", 0.3), ("write", 0.05))):
            key = required_tasks(self.run)[0]
            self._whole_task(key, self.now + 0.02, spans)
            self._advance()

    def do_round(self) -> None:
        """The current round from its first step to its commit."""
        began_at, width = self.now, self.shape.steps_per_round
        ends = [self.train(worker, began_at, self.attempts(worker), width) for worker in range(self.shape.workers)]
        self.now = max(ends)
        self.commit()

    def half_round(self) -> None:
        """Every worker half way through the current round."""
        half, ends = self.shape.steps_per_round // 2, [self.now]
        for worker in range(self.shape.workers):
            task = self.claim(worker, self.now + 0.02)
            ends.append(self.steps(task, Attempt(0, half), self.now + 0.09))
        self.now = max(ends)

    def commit(self) -> None:
        """The round's updates are combined, now that every worker has reported."""
        self._advance()
        for key in required_tasks(self.run):
            spans = (("wait", 0.001), ("load", 0.02), ("combine", 0.015), ("write", 0.03))
            self._whole_task(key, self.now + 0.01, (("init", 0.3), *spans) if self.run.round_index == 1 else spans)
        self._advance()
        if self.run.clearing is not None and self.run.clearing not in self._tasks:
            self._whole_task(self.run.clearing, self.now + 0.02, (("clear", 0.1),), moves=False)

    def finish(self) -> None:
        """The last evaluation, and clearing up."""
        for spans in ((("load", 0.01), ("evaluate", 0.5), ("write", 0.1)), (("clear", 0.2),)):
            self._whole_task(required_tasks(self.run)[0], self.now + 0.02, spans)
            self._advance()

    def end(self, status: RunStatus, reason: str, error: ErrorRecord | None = None) -> None:
        """Ended early."""
        self._save(ended(self.run, status, reason, self.now, error))

    def fail(self, worker: int, error: ErrorRecord) -> None:
        """A worker that is at work fails for good, and the run with it."""
        task = self._tasks[TaskKey(round_index=self.run.round_index, kind="train", index=worker)]
        report = Report(outcome="failed", nonce=_nonce(task), error=error)
        self.now += 1.0
        self._keep(transitions.reported(task, report, self.run.settings, self.now))
        self.end("FAILED", error.name, error)

    # --- one worker's part ---

    def attempts(self, worker: int) -> list[Attempt]:
        """How the worker gets through the current round."""
        width, place = self.shape.steps_per_round, (self.run.round_index, worker)
        if self.shape.troubles and place == (2, 1 % self.shape.workers):
            return [Attempt(0, width // 2, "paused"), Attempt(width // 2, width)]
        if self.shape.troubles and place == (3, 2 % self.shape.workers):
            return [Attempt(0, 3 * width // 4, "lost"), Attempt(0, width)]
        if self.shape.troubles and place == (4, self.shape.workers - 1):
            return [Attempt(0, width // 3, "superseded"), Attempt(0, width)]
        return [Attempt(0, width)]

    def train(self, worker: int, began_at: float, attempts: Iterable[Attempt], width: int) -> float:
        """All attempts of one worker at the current round. Returns when it handed in."""
        key = TaskKey(round_index=self.run.round_index, kind="train", index=worker)
        at = began_at + 0.02 + 0.001 * worker
        for attempt in attempts:
            task = self._claimed(key, at)
            spans, low = self._spans_before(task, at), self._column(attempt.low)
            compute_at = spans[-1].end_s
            ended_at = self.steps(task, attempt, compute_at)
            spans.append(Span(name="compute", start_s=compute_at, end_s=ended_at))
            spans.append(Span(name="write", start_s=ended_at, end_s=ended_at + 0.03))
            at = ended_at + 0.04
            self._report(task, attempt, spans, at, low)
        return at

    def steps(self, task: Task, attempt: Attempt, at: float) -> float:
        """The telemetry of an attempt's steps. Returns when they ended."""
        durations_ms = self.curves.durations_ms[task.key.index]
        for low in range(attempt.low, attempt.high, self.shape.batch_steps):
            high = min(low + self.shape.batch_steps, attempt.high)
            at += float(durations_ms[self._column(low) : self._column(high)].sum()) / 1000
            self.put_steps(task, low, high, at)
        return at

    def put_steps(self, task: Task, low: int, high: int, ended_at: float, durations_ms: tuple[float, ...] = ()) -> None:
        """One item: the steps from `low` to `high` of a worker in its round."""
        row, columns = task.key.index, slice(self._column(low, task), self._column(high, task))
        batch = StepBatch(
            worker_index=row,
            round_index=task.key.round_index,
            attempt=task.attempt,
            first_step=low,
            ended_at=ended_at,
            losses=tuple(self.curves.losses[row, columns].tolist()),
            examples=(self.shape.batch_size,) * (high - low),
            durations_ms=durations_ms or tuple(self.curves.durations_ms[row, columns].tolist()),
            accuracies=tuple(self.curves.accuracies[row, columns].tolist()) if self.shape.accuracies else (),
        )
        self._telemetry.put_steps(self.run.run_id, batch)

    def claim(self, worker: int, at: float) -> Task:
        """The current round's task in the hands of its worker, who has loaded and validated."""
        return self._claimed(TaskKey(round_index=self.run.round_index, kind="train", index=worker), at)

    def report(self, task: Task, claimed_at: float, now: float) -> None:
        """That worker is done."""
        spans = self._spans_before(task, claimed_at)
        spans.append(Span(name="compute", start_s=min(spans[-1].end_s, now), end_s=now))
        spans.append(Span(name="write", start_s=now, end_s=now + 0.03))
        self._report(task, Attempt(0, self.shape.steps_per_round), spans, now + 0.04, self._column(0))

    def _column(self, step: int, task: Task | None = None) -> int:
        round_index = task.key.round_index if task else self.run.round_index
        return (round_index - 1) * self.shape.steps_per_round + step

    def _spans_before(self, task: Task, at: float) -> list[Span]:
        """Until the first step. A new environment starts before its first claim."""
        assert self.run.plan is not None
        spans = []
        if self.run.round_index == 1 or task.attempt > 1:
            spans.append(Span(name="init", start_s=at - 3.0, end_s=at - 0.02))
        validates = shards.is_validation_round(self.run.plan, self.run.settings, self.run.round_index)
        for name, seconds in (("load", 0.05), ("evaluate", 0.3 if validates else 1e-5), ("assign", 0.02)):
            spans.append(Span(name=name, start_s=at, end_s=at + seconds))
            at += seconds
        if validates and task.attempt == 1:
            self._predict(task.key.index, at)
        return spans

    def _predict(self, worker: int, at: float) -> None:
        first = self.run.best is None
        batch = prediction_batch(self._seen, self._progress(), worker, self.shape.workers, self.run.round_index - 1, at)
        self._telemetry.put_predictions(
            self.run.run_id, batch if first and self.shape.images else replace(batch, images=())
        )

    def _progress(self) -> float:
        """How far the run has come, 0 … 1."""
        return min(1.0, (self.run.round_index - 1) / self.shape.rounds)

    # --- tasks, by the real transitions ---

    def _claimed(self, key: TaskKey, at: float) -> Task:
        settings, run_id = self.run.settings, self.run.run_id
        task = self._tasks.get(key)
        if task is None or task.status == "WAITING":
            task = self._keep(transitions.offered(task, key, settings, at - 0.02))
        elif task.status == "CLAIMED":
            task = self._keep(transitions.offered_as_backup(task, settings, at - 0.02))
        request_id = f"{run_id}-{self._draw.getrandbits(64):016x}"
        transfer = Transfer(read_bytes=400_000, written_bytes=100_000)
        return self._keep(transitions.claimed(task, 0, self._nonce(), request_id, settings, at, transfer))

    def _report(self, task: Task, attempt: Attempt, spans: list[Span], now: float, column: int) -> None:
        settings, span_batch = self.run.settings, self._span_batch(task, spans)
        if attempt.outcome == "superseded":
            return
        if attempt.outcome == "lost":
            dead = transitions.claim_ended(task, LOST, settings, now)
            assert dead is not None
            self._keep(dead)
            return
        losses = self.curves.losses[task.key.index, column : self._column(attempt.high)]
        outputs = ("checkpoint",) if attempt.outcome == "paused" else ("update", "state")
        report = Report(
            outcome="paused" if attempt.outcome == "paused" else "done",
            nonce=_nonce(task),
            outputs={name: self._file(f"{name}s/{task.key.round_index:06d}/{task.key.index:04d}") for name in outputs},
            metrics={**self._validation(task.key.index), "loss": float(losses.mean())},
            examples=self.shape.steps_per_round * self.shape.batch_size,
            steps_done=attempt.high,
            spans=tuple(spans),
            fingerprint=FINGERPRINT,
            peak_memory_bytes=620_000_000 + 1_000_000 * task.key.index,
            transfer=Transfer(read_bytes=345_088, written_bytes=81_920),
        )
        self._keep(transitions.reported(task, report, settings, now))
        self._telemetry.put_spans(self.run.run_id, span_batch)

    def _validation(self, worker: int) -> dict[str, float]:
        assert self.run.plan is not None
        if not shards.is_validation_round(self.run.plan, self.run.settings, self.run.round_index):
            return {}
        return validated(self._seen, self._progress(), worker, self.shape.workers)

    def _whole_task(self, key: TaskKey, at: float, parts: tuple[tuple[str, float], ...], *, moves: bool = True) -> None:
        """A task that is one attempt; with `moves`, what follows comes after it."""
        task, spans = self._claimed(key, at), []
        for name, seconds in parts:
            begin = at - seconds - 0.02 if name == "init" else at
            spans.append(Span(name=name, start_s=begin, end_s=begin + seconds))
            at = at if name == "init" else at + seconds
        outputs, facts = results(key, self.run, self._file)
        report = Report(
            outcome="done",
            nonce=_nonce(task),
            outputs=outputs,
            facts=facts,
            spans=tuple(spans),
            transfer=Transfer(read_bytes=180_000, written_bytes=80_000),
        )
        self._keep(transitions.reported(task, report, self.run.settings, at + 0.01))
        self._telemetry.put_spans(self.run.run_id, self._span_batch(task, spans))
        self.now = max(self.now, at + 0.01) if moves else self.now

    def _span_batch(self, task: Task, spans: list[Span]) -> SpanBatch:
        assert task.claim is not None
        return SpanBatch(key=task.key, attempt=task.attempt, request_id=task.claim.request_id, spans=tuple(spans))

    def _advance(self) -> None:
        """The run's next stage, as the reconciler would have it."""
        moved, record = advance(self.run, self._tasks, self.now)
        self._save(replace(moved, version=self.run.version + 1), record)
        if record is not None:
            self._tasks = {key: task for key, task in self._tasks.items() if key == self.run.clearing}

    def _save(self, run: Run, record: Any = None) -> None:
        assert self._store.save_run(run, record)
        self.run = run

    def _keep(self, task: Task) -> Task:
        assert self._store.save_task(self.run.run_id, task)
        self._tasks[task.key] = task
        return task

    def _file(self, name: str) -> FileRef:
        path = f"runs/{self.run.run_id}/{name}.{self._nonce()}.npy"
        parts = (f"{self._draw.getrandbits(128):032x}",)
        return FileRef(path=path, bytes=4 * PARAMETERS + 128, count=PARAMETERS, dtype="float32", parts=parts)

    def _nonce(self) -> str:
        return f"{self._draw.getrandbits(64):016x}"


def _nonce(task: Task) -> str:
    assert task.claim is not None
    return task.claim.nonce
