"""The run store on SQLite: WAL, one short transaction a write, safe for many processes.

`synchronous=NORMAL` lets a loss of power undo the last transactions but never corrupts or reorders them; the one
place that must not be undone asks for it with `make_durable`. Telemetry lies in a file of its own, so that progress
never keeps a claim or a report waiting for the lock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from contracts.errors import RunExists, RunNotFound
from contracts.records import ENDED, PredictionBatch, Record, RoundRecord, Run, SpanBatch, StepBatch, Task, TaskKey
from stores.sqlite_database import Database, encode

_RUNS_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    run_id TEXT PRIMARY KEY, version INTEGER NOT NULL, stage TEXT NOT NULL, created_at REAL NOT NULL, data BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS runs_by_time ON runs (created_at);
CREATE TABLE IF NOT EXISTS tasks (
    run_id TEXT NOT NULL, round_index INTEGER NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (run_id, round_index, key)
);
CREATE TABLE IF NOT EXISTS rounds (
    run_id TEXT NOT NULL, round_index INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (run_id, round_index)
);
"""
# Tasks and rounds are not WITHOUT ROWID: there every record of more than 1,000 bytes takes a page of its own. Stores
# that were made so are used as they are.

_TELEMETRY_SCHEMA = """
CREATE TABLE IF NOT EXISTS telemetry (
    cursor INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
    data BLOB NOT NULL, UNIQUE (run_id, kind, key)
);
CREATE INDEX IF NOT EXISTS telemetry_by_cursor ON telemetry (run_id, kind, cursor);
"""

_R = TypeVar("_R", bound=Record)


class SqliteStore:
    """Implements `contracts.ports.RunStore` and `Telemetry` on two files: `path`, and `telemetry.db` beside it."""

    def __init__(self, path: Path) -> None:
        self._runs = Database(path, _RUNS_SCHEMA)
        self._telemetry = Database(path.with_name("telemetry.db"), _TELEMETRY_SCHEMA)

    # --- runs ---

    def create_run(self, run: Run) -> None:
        """See `RunStore.create_run`."""
        with self._runs.transaction() as cursor:
            cursor.execute(
                "INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?, ?)",
                (run.run_id, run.version, run.stage, run.created_at, encode(run)),
            )
            if cursor.rowcount == 0:
                raise RunExists(f"run {run.run_id}", "it exists already", "a new id")

    def load_run(self, run_id: str) -> Run:
        """See `RunStore.load_run`."""
        row = self._runs.fetch_one("SELECT data FROM runs WHERE run_id = ?", (run_id,))
        if row is None:
            raise RunNotFound(f"run {run_id}", f"it is not in {self._runs.path.parent}")
        return self._runs.decode(row[0], Run)

    def save_run(self, run: Run, record: RoundRecord | None = None) -> bool:
        """See `RunStore.save_run`."""
        with self._runs.transaction() as cursor:
            cursor.execute(
                "UPDATE runs SET version = ?, stage = ?, data = ? WHERE run_id = ? AND version = ?",
                (run.version, run.stage, encode(run), run.run_id, run.version - 1),
            )
            if cursor.rowcount == 0:
                return False
            if record is not None:
                cursor.execute("INSERT INTO rounds VALUES (?, ?, ?)", (run.run_id, record.round_index, encode(record)))
            return True

    def list_runs(self, limit: int = 100) -> Sequence[Run]:
        """See `RunStore.list_runs`."""
        rows = self._runs.fetch_all("SELECT data FROM runs ORDER BY created_at DESC, run_id LIMIT ?", (limit,))
        return [self._runs.decode(row[0], Run) for row in rows]

    def open_run_ids(self) -> Sequence[str]:
        """See `RunStore.open_run_ids`."""
        rows = self._runs.fetch_all("SELECT run_id, stage FROM runs ORDER BY created_at, run_id", ())
        return [run_id for run_id, stage in rows if stage.partition("/")[0] not in ENDED]

    def delete_run(self, run_id: str) -> None:
        """See `RunStore.delete_run`."""
        with self._telemetry.transaction() as cursor:
            cursor.execute("DELETE FROM telemetry WHERE run_id = ?", (run_id,))
        with self._runs.transaction() as cursor:
            for table in ("runs", "tasks", "rounds"):
                cursor.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))  # noqa: S608 - names above

    def load_rounds(self, run_id: str, after: int = 0) -> Sequence[RoundRecord]:
        """See `RunStore.load_rounds`."""
        query = "SELECT data FROM rounds WHERE run_id = ? AND round_index > ? ORDER BY round_index"
        return [self._runs.decode(row[0], RoundRecord) for row in self._runs.fetch_all(query, (run_id, after))]

    # --- tasks ---

    def load_task(self, run_id: str, key: TaskKey) -> Task | None:
        """See `RunStore.load_task`."""
        query = "SELECT data FROM tasks WHERE run_id = ? AND round_index = ? AND key = ?"
        row = self._runs.fetch_one(query, (run_id, key.round_index, str(key)))
        return None if row is None else self._runs.decode(row[0], Task)

    def load_tasks(self, run_id: str, round_index: int, *, consistent: bool = True) -> dict[TaskKey, Task]:
        """See `RunStore.load_tasks`."""
        query = "SELECT data FROM tasks WHERE run_id = ? AND round_index = ? ORDER BY key"
        tasks = (self._runs.decode(row[0], Task) for row in self._runs.fetch_all(query, (run_id, round_index)))
        return {task.key: task for task in tasks}

    def save_task(self, run_id: str, task: Task, *, stage: str | None = None) -> bool:
        """See `RunStore.save_task`."""
        with self._runs.transaction() as cursor:
            return (stage is None or _is_at(cursor, run_id, stage)) and _save_task(cursor, run_id, task)

    def save_tasks(self, run_id: str, tasks: Sequence[Task], *, stage: str) -> list[bool]:
        """See `RunStore.save_tasks`."""
        with self._runs.transaction() as cursor:
            at_stage = _is_at(cursor, run_id, stage)
            return [at_stage and _save_task(cursor, run_id, task) for task in tasks]

    # --- telemetry ---

    def put_steps(self, run_id: str, batch: StepBatch) -> None:
        """See `Telemetry.put_steps`."""
        key = f"{batch.round_index:06d}#{batch.worker_index:04d}#{batch.attempt:03d}#{batch.first_step:09d}"
        self._put(run_id, "steps", key, batch)

    def put_spans(self, run_id: str, batch: SpanBatch) -> None:
        """See `Telemetry.put_spans`."""
        self._put(run_id, "spans", f"{batch.key}@{batch.attempt:03d}#{batch.request_id}", batch)

    def put_predictions(self, run_id: str, batch: PredictionBatch) -> None:
        """See `Telemetry.put_predictions`."""
        key = f"{batch.parameters_round:06d}#{batch.worker_index:04d}#{batch.attempt:03d}"
        self._put(run_id, "predictions", key, batch)

    def read_steps(self, run_id: str, cursor: str = "") -> tuple[Sequence[StepBatch], str]:
        """See `Telemetry.read_steps`."""
        return self._read(run_id, "steps", cursor, StepBatch)

    def read_spans(self, run_id: str, cursor: str = "") -> tuple[Sequence[SpanBatch], str]:
        """See `Telemetry.read_spans`."""
        return self._read(run_id, "spans", cursor, SpanBatch)

    def read_predictions(self, run_id: str, cursor: str = "") -> tuple[Sequence[PredictionBatch], str]:
        """See `Telemetry.read_predictions`."""
        return self._read(run_id, "predictions", cursor, PredictionBatch)

    def _put(self, run_id: str, kind: str, key: str, record: Record) -> None:
        with self._telemetry.transaction() as cursor:
            cursor.execute(
                "INSERT OR REPLACE INTO telemetry (run_id, kind, key, data) VALUES (?, ?, ?, ?)",
                (run_id, kind, key, encode(record)),
            )

    def _read(self, run_id: str, kind: str, cursor: str, of_type: type[_R]) -> tuple[Sequence[_R], str]:
        query = "SELECT data, cursor FROM telemetry WHERE run_id = ? AND kind = ? AND cursor > ? ORDER BY cursor"
        rows = self._telemetry.fetch_all(query, (run_id, kind, int(cursor or 0)))
        return [self._telemetry.decode(row[0], of_type) for row in rows], str(rows[-1][1]) if rows else cursor

    # --- the files ---

    def make_durable(self) -> None:
        """See `RunStore.make_durable`."""
        self._runs.make_durable()

    def close(self) -> None:
        """Close every thread's connections."""
        self._runs.close()
        self._telemetry.close()


def _is_at(cursor: sqlite3.Cursor, run_id: str, stage: str) -> bool:
    """Whether the run is at that stage, in this transaction."""
    found = cursor.execute("SELECT stage FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return bool(found == (stage,))


def _save_task(cursor: sqlite3.Cursor, run_id: str, task: Task) -> bool:
    """Save the task in this transaction if its stored version is the one before. Returns whether it was."""
    where = (run_id, task.key.round_index, str(task.key))
    if task.version == 1:
        cursor.execute("INSERT OR IGNORE INTO tasks VALUES (?, ?, ?, ?, ?)", (*where, task.version, encode(task)))
    else:
        cursor.execute(
            "UPDATE tasks SET version = ?, data = ? WHERE run_id = ? AND round_index = ? AND key = ? AND version = ?",
            (task.version, encode(task), *where, task.version - 1),
        )
    return bool(cursor.rowcount)
