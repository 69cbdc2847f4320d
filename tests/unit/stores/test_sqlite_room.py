"""How much room the run store takes for what it holds; and stores of the form before go on as they are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from msgspec.structs import replace

from contracts.records import FileRef, Report, RoundRecord, Run, Task, TaskKey
from simulation.world import settings
from stores.sqlite import SqliteStore
from stores.sqlite_database import encode

RUN = Run(run_id="r-0001", settings=settings(), code_version="1", created_at=1.0, deadline_at=9.0)
ROUNDS, WORKERS = 8, 64

FORM_BEFORE = """
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY, version INTEGER NOT NULL, stage TEXT NOT NULL, created_at REAL NOT NULL, data BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX runs_by_time ON runs (created_at);
CREATE TABLE tasks (
    run_id TEXT NOT NULL, round_index INTEGER NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (run_id, round_index, key)
) WITHOUT ROWID;
CREATE TABLE rounds (
    run_id TEXT NOT NULL, round_index INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (run_id, round_index)
) WITHOUT ROWID;
PRAGMA user_version = 1;
"""
"""The form before: a record of more than 1,000 bytes took a page of its own there."""


def task(round_index: int, index: int, version: int) -> Task:
    """As large as a report makes it: 1.5 KB."""
    files = {
        name: FileRef(path=f"runs/r-0001/{name}/{'0' * 250}", bytes=640, count=64, parts=("a" * 32,)) for name in "usvw"
    }
    key = TaskKey(round_index=round_index, kind="train", index=index)
    return Task(key=key, version=version, report=Report(outcome="done", nonce="a" * 16, outputs=files))


def write_tasks(store: SqliteStore) -> int:
    """Three versions of each, as in a run. Returns the bytes of the records."""
    store.create_run(RUN)
    for round_index in range(ROUNDS):
        for version in (1, 2, 3):
            for index in range(WORKERS):
                assert store.save_task(RUN.run_id, task(round_index, index, version))
    return ROUNDS * WORKERS * len(encode(task(1, 1, 3)))


def test_records_share_pages(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    record_bytes = write_tasks(store)
    store.close()
    assert (tmp_path / "runs.db").stat().st_size < 1.6 * record_bytes


def test_a_store_of_the_form_before_goes_on(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        connection.executescript(FORM_BEFORE)
    store = SqliteStore(tmp_path / "runs.db")
    write_tasks(store)
    record = RoundRecord(
        round_index=1, generation=1, committed_at=1.0, examples=8, epochs=0.5, metrics={}, inputs={}, parameters=(),
        cost_usd=0.0,
    )  # fmt: skip
    assert store.save_run(replace(RUN, version=2), record)
    assert store.load_rounds(RUN.run_id) == [record]
    assert list(store.load_tasks(RUN.run_id, 3)) == [task(3, index, 3).key for index in range(WORKERS)]
    assert store.load_task(RUN.run_id, task(3, 5, 3).key) == task(3, 5, 3)
    store.delete_run(RUN.run_id)
    assert store.load_tasks(RUN.run_id, 3) == {}
    store.close()
