"""What SQLite's errors mean: a full disk is not a damaged store, whatever SQLite calls it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from contracts.errors import DiskFull, LambdafitError, StoreCorrupted
from faults.disks import can_mount, disk, fill
from stores import sqlite_database
from stores.sqlite import SqliteStore


@pytest.mark.parametrize(("free_blocks", "expected"), [(0, DiskFull), (1_000_000, StoreCorrupted)])
def test_an_input_output_error_on_a_full_disk_is_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_blocks: int, expected: type[LambdafitError]
) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = "SQLITE_IOERR_SHMSIZE"
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free_blocks, f_frsize=4096))
    assert type(sqlite_database._numbered(tmp_path / "runs.db", error)) is expected


@pytest.mark.skipif(not can_mount(), reason="only root may mount a disk")
def test_a_store_that_is_opened_on_a_full_disk_says_so(tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as folder:
        store = SqliteStore(folder / "runs.db")
        store.list_runs()
        store.close()
        with fill(folder):
            again = SqliteStore(folder / "runs.db")
            with pytest.raises(DiskFull):
                again.list_runs()
            again.close()
        assert list(SqliteStore(folder / "runs.db").list_runs()) == []
