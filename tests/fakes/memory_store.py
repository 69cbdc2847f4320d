"""The run store in memory. Passes the same contract suite as SQLite; the simulator schedules around its calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from contracts.errors import RunExists, RunNotFound
from contracts.records import PredictionBatch, RoundRecord, Run, SpanBatch, StepBatch, Task, TaskKey


def no_hook(_operation: str) -> None:
    """Nothing happens between operations."""


class MemoryStore:
    """Implements RunStore and Telemetry. Values pass through JSON, as with every real store."""

    def __init__(self, hook: Callable[[str], None] = no_hook) -> None:
        self._hook = hook
        self._kept: Callable[[Any], Any] = _copy
        self.runs: dict[str, Run] = {}
        self.tasks: dict[tuple[str, TaskKey], Task] = {}
        self.rounds: dict[tuple[str, int], RoundRecord] = {}
        self.steps: dict[tuple[str, str], tuple[int, StepBatch]] = {}
        self.spans: dict[tuple[str, str], tuple[int, SpanBatch]] = {}
        self.predictions: dict[tuple[str, str], tuple[int, PredictionBatch]] = {}
        self._cursor = 0

    def create_run(self, run: Run) -> None:
        self._hook("before create_run")
        if run.run_id in self.runs:
            raise RunExists(run.run_id, "exists")
        self.runs[run.run_id] = self._kept(run)
        self._hook("after create_run")

    def load_run(self, run_id: str) -> Run:
        self._hook("before load_run")
        if run_id not in self.runs:
            raise RunNotFound(run_id, "is not here")
        return self.runs[run_id]

    def save_run(self, run: Run, record: RoundRecord | None = None) -> bool:
        self._hook("before save_run")
        stored = self.runs.get(run.run_id)
        if stored is None or stored.version != run.version - 1:
            return False
        self.runs[run.run_id] = self._kept(run)
        if record is not None:
            key = (run.run_id, record.round_index)
            assert key not in self.rounds, "a round is committed once"
            self.rounds[key] = self._kept(record)
        self._hook("after save_run")
        return True

    def load_task(self, run_id: str, key: TaskKey) -> Task | None:
        self._hook("before load_task")
        return self.tasks.get((run_id, key))

    def load_tasks(self, run_id: str, round_index: int, *, consistent: bool = True) -> dict[TaskKey, Task]:
        self._hook("before load_tasks")
        found = {k: t for (r, k), t in self.tasks.items() if r == run_id and k.round_index == round_index}
        return dict(sorted(found.items(), key=lambda item: str(item[0])))

    def save_task(self, run_id: str, task: Task, *, stage: str | None = None) -> bool:
        self._hook("before save_task")
        if stage is not None and (run_id not in self.runs or self.runs[run_id].stage != stage):
            return False
        stored = self.tasks.get((run_id, task.key))
        if (stored.version if stored else 0) != task.version - 1:
            return False
        self.tasks[run_id, task.key] = self._kept(task)
        self._hook("after save_task")
        return True

    def save_tasks(self, run_id: str, tasks: Sequence[Task], *, stage: str) -> list[bool]:
        """One write after the other: whoever else is at work, or a crash, may come between any two."""
        return [self.save_task(run_id, task, stage=stage) for task in tasks]

    def load_rounds(self, run_id: str, after: int = 0) -> Sequence[RoundRecord]:
        return [record for (r, i), record in sorted(self.rounds.items()) if r == run_id and i > after]

    def list_runs(self, limit: int = 100) -> Sequence[Run]:
        newest = sorted(self.runs.values(), key=lambda run: (-run.created_at, run.run_id))
        return newest[:limit]

    def open_run_ids(self) -> Sequence[str]:
        oldest = sorted(self.runs.values(), key=lambda run: (run.created_at, run.run_id))
        return [run.run_id for run in oldest if not run.ended]

    def delete_run(self, run_id: str) -> None:
        self.runs.pop(run_id, None)
        for table in (self.tasks, self.rounds, self.steps, self.spans, self.predictions):
            for key in [key for key in table if key[0] == run_id]:
                del table[key]  # type: ignore[attr-defined]

    def make_durable(self) -> None:
        self._hook("before make_durable")

    def put_steps(self, run_id: str, batch: StepBatch) -> None:
        self._cursor += 1
        key = f"{batch.round_index}#{batch.worker_index}#{batch.attempt}#{batch.first_step}"
        self.steps[run_id, key] = (self._cursor, self._kept(batch))

    def put_spans(self, run_id: str, batch: SpanBatch) -> None:
        self._cursor += 1
        self.spans[run_id, f"{batch.key}@{batch.attempt}#{batch.request_id}"] = (self._cursor, self._kept(batch))

    def put_predictions(self, run_id: str, batch: PredictionBatch) -> None:
        self._cursor += 1
        key = f"{batch.parameters_round}#{batch.worker_index}#{batch.attempt}"
        self.predictions[run_id, key] = (self._cursor, self._kept(batch))

    def read_steps(self, run_id: str, cursor: str = "") -> tuple[Sequence[StepBatch], str]:
        return _after(self.steps, run_id, cursor)

    def read_spans(self, run_id: str, cursor: str = "") -> tuple[Sequence[SpanBatch], str]:
        return _after(self.spans, run_id, cursor)

    def read_predictions(self, run_id: str, cursor: str = "") -> tuple[Sequence[PredictionBatch], str]:
        return _after(self.predictions, run_id, cursor)


def _after[R](table: dict[tuple[str, str], tuple[int, R]], run_id: str, cursor: str) -> tuple[list[R], str]:
    rows = sorted((c, item) for (r, _), (c, item) in table.items() if r == run_id and c > int(cursor or 0))
    return [item for _, item in rows], str(rows[-1][0]) if rows else cursor


def _copy[R: msgspec.Struct](record: R) -> R:
    return msgspec.json.decode(msgspec.json.encode(record), type=type(record))
