"""One SQLite file: a connection a thread, short write transactions, patient with other processes' locks."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from contracts.errors import DiskFull, HomeNotWritable, LambdafitError, StoreBusy, StoreCorrupted
from contracts.records import Record
from stores.private_folders import make_private_folder

SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 30.0
FIRST_WAIT_S = 0.0001
LONGEST_WAIT_S = 0.005
LEAST_ROOM_BYTES = 64 << 10
"""With less, SQLite cannot open a file: the index of its log alone takes half of that."""

_R = TypeVar("_R", bound=Record)


class Database:
    """A file in WAL mode whose tables are made when it is first opened.

    Args:
        path: the file; its folder is made, both for their owner alone.
        schema: statements that create the tables.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self.path = path
        self._schema = schema
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Cursor]:
        """A write transaction: committed at the end, rolled back at an exception."""
        with self._errors():
            cursor = self._connection().cursor()
            _patiently(lambda: cursor.execute("BEGIN IMMEDIATE"))
            try:
                yield cursor
            except BaseException:
                cursor.connection.rollback()
                raise
            cursor.connection.commit()

    def fetch_one(self, query: str, values: tuple[object, ...]) -> Any:
        """The first row, or None."""
        with self._errors():
            return _patiently(lambda: self._connection().execute(query, values).fetchone())

    def fetch_all(self, query: str, values: tuple[object, ...]) -> list[Any]:
        """All rows."""
        with self._errors():
            return _patiently(lambda: self._connection().execute(query, values).fetchall())

    def decode(self, data: bytes, of_type: type[_R]) -> _R:
        """A record as it was encoded.

        Raises:
            StoreCorrupted: it is not.
        """
        try:
            return msgspec.json.decode(data, type=of_type)
        except (TypeError, UnicodeError, RecursionError, msgspec.MsgspecError) as error:
            raise StoreCorrupted(str(self.path), f"a {of_type.__name__} cannot be read: {error}") from error

    def make_durable(self) -> None:
        """Return once all that was committed survives a loss of power: the log and the file are synchronised."""
        for path in (Path(f"{self.path}-wal"), self.path):
            with suppress(FileNotFoundError):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def close(self) -> None:
        """Close every thread's connection."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
            self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = _open(self.path, self._schema)
            self._local.connection = connection
            with self._lock:
                self._connections.append(connection)
        return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise _numbered(self.path, error) from error


def encode(record: Record) -> bytes:
    """A record as JSON."""
    return msgspec.json.encode(record)


def _open(path: Path, schema: str) -> sqlite3.Connection:
    try:
        make_private_folder(path.parent)
        if not path.exists():
            path.touch(mode=0o600)
    except OSError as error:
        raise HomeNotWritable(str(path), str(error.strerror), "a writable folder") from error
    # Threads own their connections; `close` alone crosses threads.
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path, schema)
    except BaseException:
        connection.close()  # its error's traceback would hold it until some later collection of garbage
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, schema: str) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise StoreCorrupted(str(path), f"schema version {version}", str(SCHEMA_VERSION))
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {schema} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    connection.execute("PRAGMA busy_timeout = 0")  # from here on `_patiently` waits


def _patiently[T](action: Callable[[], T]) -> T:
    """Do it as soon as the lock is free.

    SQLite's own waits begin at 1 ms, ten times as long as a transaction here takes: a round of many workers would
    spend its time in them.
    """
    give_up_at = time.monotonic() + BUSY_TIMEOUT_S
    wait_s = FIRST_WAIT_S
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > give_up_at:
                raise
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorname", "") in ("SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT", "SQLITE_BUSY_RECOVERY")


def _numbered(path: Path, error: sqlite3.DatabaseError) -> LambdafitError:
    if _is_busy(error):
        return StoreBusy(str(path), f"locked for {BUSY_TIMEOUT_S:g} s", "a lock of milliseconds")
    match getattr(error, "sqlite_errorname", ""):
        case "SQLITE_FULL":
            return DiskFull(str(path), "the disk is full", "room for the run store")
        case "SQLITE_READONLY" | "SQLITE_CANTOPEN" | "SQLITE_READONLY_DIRECTORY" | "SQLITE_READONLY_DBMOVED":
            return HomeNotWritable(str(path), str(error), "a writable file")
        case name if name.startswith("SQLITE_IOERR") and _is_full(path.parent):
            # So it says of the index of its log, and of temporary files: nothing is damaged.
            return DiskFull(str(path), f"the disk is full ({error})", "room for the run store")
        case _:
            return StoreCorrupted(str(path), str(error), "a run store")


def _is_full(folder: Path) -> bool:
    try:
        status = os.statvfs(folder)
    except OSError:
        return False
    return status.f_bavail * status.f_frsize < LEAST_ROOM_BYTES
