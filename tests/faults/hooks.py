"""What makes a run's processes stop at the gate: put into them by `faulty_cli` and `faulty_handlers`.

| point | who | when |
|---|---|---|
| committing, committed | conductor | before and after a run's item is saved |
| offering, offered | conductor | before and after tasks are offered |
| invoking | conductor | before an event is sent |
| claiming, claimed | worker | before and after a task is claimed |
| writing | worker | half of a file (or of a slice of it) is written |
| reporting, reported | worker | before and after a report is saved |

`LAMBDAFIT_TEST_GATE` is the gate's port; `LAMBDAFIT_TEST_CLOCKS` a folder with a file for each role: by how many
seconds its clock is wrong.
"""

from __future__ import annotations

import json
import os
import select
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.records import RoundRecord, Run, Task
from handlers import wiring
from stores import shared_files, sqlite_database
from stores.sqlite import SqliteStore

BUSY_TIMEOUT_S = 2.0
"""Stands in for the store's 30 s."""

NPY_HEADER = b"\x93NUMPY"
"""Not stopped at: what follows it is."""

BACKBONE = os.environ.get("LAMBDAFIT_TEST_BACKBONE", "")
"""The digest of the run's frozen backbone, if it is to have one."""

BLOCK_ROWS = 4
"""Of its outputs, so that small data have many."""

DATA_FACTS: Mapping[str, Any] = {"train_examples": 101, "val_examples": 7} | (
    {"name": "digits", "folder": "datasets/digits-00", "test_examples": 9} if BACKBONE else {}
)

HURRIED: set[int] = set()
"""Not empty where this process is to pause."""

_lock = threading.Lock()
_peers: list[socket.socket] = []
_role = ["worker"]
_write_all = shared_files._write_all


def visit(point: str, task: Task | None = None, **facts: Any) -> str:
    """Stop at the gate. Returns the word that one is let through with."""
    if task is not None:
        key = task.key
        facts |= {"kind": key.kind, "index": key.index, "round_index": key.round_index, "generation": key.generation}
        facts |= {"attempt": task.attempt}
    line = json.dumps({"point": point, "role": _role[0], "pid": os.getpid()} | facts).encode() + b"\n"
    with _lock:
        if not _peers:
            _peers.append(socket.create_connection(("127.0.0.1", int(os.environ["LAMBDAFIT_TEST_GATE"]))))
        _peers[0].sendall(line)
        word = _read_line(_peers[0])
        return _obey(word)


def _read_line(peer: socket.socket) -> str:
    data = b""
    while not data.endswith(b"\n"):
        piece = peer.recv(1024)
        if not piece:
            os._exit(9)  # the test is gone
        data += piece
    return data[:-1].decode()


def _obey(word: str) -> str:
    order, _, number = word.partition(" ")
    match order:
        case "eat":
            held = bytearray(b"x") * (int(number) << 20)
            _peers[0].recv(1)  # until the engine has noticed
            del held
        case "raise":
            raise RuntimeError("as the schedule says")
        case "exit":
            os._exit(int(number))
    return order


class SkewedClock:
    """Implements `contracts.ports.Clock`: the system's, wrong by what a file says."""

    def __init__(self) -> None:
        self._file = Path(os.environ["LAMBDAFIT_TEST_CLOCKS"], _role[0])

    def now(self) -> float:
        try:
            return time.time() + float(self._file.read_text())
        except (FileNotFoundError, ValueError):
            return time.time()


class GateStore(SqliteStore):
    """Stops at the gate before and after each of its writes."""

    def save_run(self, run: Run, record: RoundRecord | None = None) -> bool:
        visit("committing", round_index=run.round_index)
        saved = super().save_run(run, record)
        visit("committed", round_index=run.round_index)
        return saved

    def save_tasks(self, run_id: str, tasks: Sequence[Task], *, stage: str) -> list[bool]:
        visit("offering", tasks[0])
        saved = super().save_tasks(run_id, tasks, stage=stage)
        visit("offered", tasks[0])
        return saved

    def save_task(self, run_id: str, task: Task, *, stage: str | None = None) -> bool:
        before, after = ("claiming", "claimed") if task.status == "CLAIMED" else ("reporting", "reported")
        if _role[0] == "conductor":
            before, after = "offering", "offered"
        if visit(before, task) == "lose":
            return True  # says that it did, and did not
        saved = super().save_task(run_id, task, stage=stage)
        if visit(after, task) == "hurry":
            HURRIED.add(os.getpid())
        return saved


class HurriedDeadline:
    """Implements `contracts.ports.Deadline`: Lambda's, but over after the first step where the gate said so."""

    def __init__(self, context: wiring.LambdaContext) -> None:
        self._real, self._asked = wiring.ContextDeadline(context), 0

    def remaining_s(self) -> float:
        self._asked += 1
        if self._asked > 1 and HURRIED:
            HURRIED.clear()
            return 0.0
        return self._real.remaining_s()


def write_by_halves(descriptor: int, view: memoryview) -> int:
    """As `shared_files._write_all`, with a stop in the middle."""
    if bytes(view[:6]) == NPY_HEADER:
        return _write_all(descriptor, view)
    half = len(view) // 2
    before = os.fstat(descriptor).st_size
    done = _write_all(descriptor, view[:half])
    spare = before > os.lseek(descriptor, 0, os.SEEK_CUR)
    visit("writing", path=str(Path(f"/proc/self/fd/{descriptor}").readlink()), spare=spare)
    return done + _write_all(descriptor, view[half:])


def sleep_under_faketime(seconds: float) -> None:
    """As `time.sleep`, by another system call: with the library's clock (0.9.10) that one fails in every Python.

    It would end whoever waits for SQLite's lock by a fault that no machine has.
    """
    select.select([], [], [], seconds)


def install(role: str) -> None:
    """Put the hooks into this process."""
    _role[0] = role
    if os.environ.get("LD_PRELOAD"):
        time.sleep = sleep_under_faketime
    sqlite_database.BUSY_TIMEOUT_S = BUSY_TIMEOUT_S
    wiring.SystemClock = SkewedClock  # type: ignore[misc, assignment]
    if role == "worker":
        shared_files._write_all = write_by_halves


def deliver(send: Any, function: str, event: Mapping[str, Any]) -> None:
    """Send an event: once, twice or never, as the gate says."""
    word = visit("invoking")
    for _ in range({"twice": 2, "drop": 0}.get(word, 1)):
        send(function, event)
