"""The run store on one SQLite file: WAL, one short transaction a write, safe for many processes.

`synchronous=NORMAL` lets a loss of power undo the last transactions but never corrupts or reorders them; the one
place that must not be undone asks for it with `make_durable`.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from contracts.errors import (
    DiskFull,
    HomeNotWritable,
    LambdafitError,
    RunExists,
    RunNotFound,
    StoreBusy,
    StoreCorrupted,
)
from contracts.records import Record, RoundRecord, Run, SpanBatch, StepBatch, Task, TaskKey

SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 30.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    run_id TEXT PRIMARY KEY, version INTEGER NOT NULL, stage TEXT NOT NULL, created_at REAL NOT NULL, data BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS runs_by_time ON runs (created_at);
CREATE TABLE IF NOT EXISTS tasks (
    run_id TEXT NOT NULL, round_index INTEGER NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (run_id, round_index, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rounds (
    run_id TEXT NOT NULL, round_index INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (run_id, round_index)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS telemetry (
    cursor INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
    data BLOB NOT NULL, UNIQUE (run_id, kind, key)
);
CREATE INDEX IF NOT EXISTS telemetry_by_cursor ON telemetry (run_id, kind, cursor);
"""

_R = TypeVar("_R", bound=Record)


class SqliteStore:
    """Implements `contracts.ports.RunStore` and `Telemetry`. One connection a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.Lock()

    # --- runs ---

    def create_run(self, run: Run) -> None:
        """See `RunStore.create_run`."""
        with self._transaction() as cursor:
            cursor.execute(
                "INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?, ?)",
                (run.run_id, run.version, run.stage, run.created_at, _encode(run)),
            )
            if cursor.rowcount == 0:
                raise RunExists(f"run {run.run_id}", "it exists already", "a new id")

    def load_run(self, run_id: str) -> Run:
        """See `RunStore.load_run`."""
        row = self._fetch_one("SELECT data FROM runs WHERE run_id = ?", (run_id,))
        if row is None:
            raise RunNotFound(f"run {run_id}", f"it is not in {self._path.parent}")
        return self._decode(row[0], Run)

    def save_run(self, run: Run, record: RoundRecord | None = None) -> bool:
        """See `RunStore.save_run`."""
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE runs SET version = ?, stage = ?, data = ? WHERE run_id = ? AND version = ?",
                (run.version, run.stage, _encode(run), run.run_id, run.version - 1),
            )
            if cursor.rowcount == 0:
                return False
            if record is not None:
                cursor.execute("INSERT INTO rounds VALUES (?, ?, ?)", (run.run_id, record.round_index, _encode(record)))
            return True

    def list_runs(self, limit: int = 100) -> Sequence[Run]:
        """See `RunStore.list_runs`."""
        rows = self._fetch_all("SELECT data FROM runs ORDER BY created_at DESC, run_id LIMIT ?", (limit,))
        return [self._decode(row[0], Run) for row in rows]

    def delete_run(self, run_id: str) -> None:
        """See `RunStore.delete_run`."""
        with self._transaction() as cursor:
            for table in ("runs", "tasks", "rounds", "telemetry"):
                cursor.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))  # noqa: S608 - names above

    def load_rounds(self, run_id: str, after: int = 0) -> Sequence[RoundRecord]:
        """See `RunStore.load_rounds`."""
        query = "SELECT data FROM rounds WHERE run_id = ? AND round_index > ? ORDER BY round_index"
        return [self._decode(row[0], RoundRecord) for row in self._fetch_all(query, (run_id, after))]

    # --- tasks ---

    def load_task(self, run_id: str, key: TaskKey) -> Task | None:
        """See `RunStore.load_task`."""
        query = "SELECT data FROM tasks WHERE run_id = ? AND round_index = ? AND key = ?"
        row = self._fetch_one(query, (run_id, key.round_index, str(key)))
        return None if row is None else self._decode(row[0], Task)

    def load_tasks(self, run_id: str, round_index: int) -> dict[TaskKey, Task]:
        """See `RunStore.load_tasks`."""
        query = "SELECT data FROM tasks WHERE run_id = ? AND round_index = ? ORDER BY key"
        tasks = (self._decode(row[0], Task) for row in self._fetch_all(query, (run_id, round_index)))
        return {task.key: task for task in tasks}

    def save_task(self, run_id: str, task: Task, *, stage: str | None = None) -> bool:
        """See `RunStore.save_task`."""
        where = (run_id, task.key.round_index, str(task.key))
        with self._transaction() as cursor:
            if stage is not None:
                cursor.execute("SELECT stage FROM runs WHERE run_id = ?", (run_id,))
                if cursor.fetchone() != (stage,):
                    return False
            if task.version == 1:
                cursor.execute(
                    "INSERT OR IGNORE INTO tasks VALUES (?, ?, ?, ?, ?)", (*where, task.version, _encode(task))
                )
            else:
                cursor.execute(
                    "UPDATE tasks SET version = ?, data = ?"
                    " WHERE run_id = ? AND round_index = ? AND key = ? AND version = ?",
                    (task.version, _encode(task), *where, task.version - 1),
                )
            return bool(cursor.rowcount)

    # --- telemetry ---

    def put_steps(self, run_id: str, batch: StepBatch) -> None:
        """See `Telemetry.put_steps`."""
        key = f"{batch.round_index:06d}#{batch.worker_index:04d}#{batch.attempt:03d}#{batch.first_step:09d}"
        self._put(run_id, "steps", key, batch)

    def put_spans(self, run_id: str, batch: SpanBatch) -> None:
        """See `Telemetry.put_spans`."""
        self._put(run_id, "spans", f"{batch.key}@{batch.attempt:03d}#{batch.request_id}", batch)

    def read_steps(self, run_id: str, cursor: int = 0) -> tuple[Sequence[StepBatch], int]:
        """See `Telemetry.read_steps`."""
        return self._read(run_id, "steps", cursor, StepBatch)

    def read_spans(self, run_id: str, cursor: int = 0) -> tuple[Sequence[SpanBatch], int]:
        """See `Telemetry.read_spans`."""
        return self._read(run_id, "spans", cursor, SpanBatch)

    def _put(self, run_id: str, kind: str, key: str, record: Record) -> None:
        with self._transaction() as cursor:
            cursor.execute(
                "INSERT OR REPLACE INTO telemetry (run_id, kind, key, data) VALUES (?, ?, ?, ?)",
                (run_id, kind, key, _encode(record)),
            )

    def _read(self, run_id: str, kind: str, cursor: int, of_type: type[_R]) -> tuple[Sequence[_R], int]:
        query = "SELECT data, cursor FROM telemetry WHERE run_id = ? AND kind = ? AND cursor > ? ORDER BY cursor"
        rows = self._fetch_all(query, (run_id, kind, cursor))
        return [self._decode(row[0], of_type) for row in rows], rows[-1][1] if rows else cursor

    # --- the file ---

    def make_durable(self) -> None:
        """See `RunStore.make_durable`: a checkpoint synchronises the log first."""
        with self._errors():
            self._connection().execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Close every thread's connection."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
            self._local = threading.local()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with self._errors():
            connection = self._connection()
            cursor = connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def _fetch_one(self, query: str, values: tuple[object, ...]) -> Any:
        with self._errors():
            return self._connection().execute(query, values).fetchone()

    def _fetch_all(self, query: str, values: tuple[object, ...]) -> list[Any]:
        with self._errors():
            return self._connection().execute(query, values).fetchall()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = _open(self._path)
            self._local.connection = connection
            with self._lock:
                self._connections.append(connection)
        return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise _numbered(self._path, error) from error

    def _decode(self, data: bytes, of_type: type[_R]) -> _R:
        try:
            return msgspec.json.decode(data, type=of_type)
        except msgspec.MsgspecError as error:
            raise StoreCorrupted(str(self._path), f"a {of_type.__name__} cannot be read: {error}") from error


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)
    except OSError as error:
        raise HomeNotWritable(str(path), str(error.strerror), "a writable folder") from error
    # Threads own their connections; `close` alone crosses threads.
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise StoreCorrupted(str(path), f"schema version {version}", str(SCHEMA_VERSION))
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    return connection


def _numbered(path: Path, error: sqlite3.DatabaseError) -> LambdafitError:
    match getattr(error, "sqlite_errorname", ""):
        case "SQLITE_BUSY" | "SQLITE_BUSY_SNAPSHOT" | "SQLITE_LOCKED":
            return StoreBusy(str(path), f"locked for {BUSY_TIMEOUT_S:g} s", "a lock of milliseconds")
        case "SQLITE_FULL":
            return DiskFull(str(path), "the disk is full", "room for the run store")
        case "SQLITE_READONLY" | "SQLITE_CANTOPEN" | "SQLITE_READONLY_DIRECTORY" | "SQLITE_READONLY_DBMOVED":
            return HomeNotWritable(str(path), str(error), "a writable file")
        case _:
            return StoreCorrupted(str(path), str(error), "a run store")


def _encode(record: Record) -> bytes:
    return msgspec.json.encode(record)
