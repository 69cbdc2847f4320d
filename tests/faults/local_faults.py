"""What goes wrong on one machine. Each is a course: it begins at a visit, and its `finally` puts things right.

Where nothing is said, the visitor is let through by the stage as soon as the course has begun.
"""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from contracts.records import Run, TaskKey
from faults.disks import fill, is_read_only
from faults.gate import Visit
from faults.local_stage import Course, Stage
from runs.control import cancel
from runs.services import Services

LEASE_S = 36.0
"""More than the functions' time limit and a claim's margin."""

BACKUP_S = 16.0
"""More than a straggler is behind, less than a lease."""

HOLD_S = 3.5
"""Less than the functions' time limit of 5 s: whoever is stopped for so long is not yet killed."""

LONGER_THAN_BUSY_S = 3.0


# --- processes ---------------------------------------------------------------------------------------------


def kill_environment(stage: Stage, visit: Visit) -> Course:
    """`kill -9` of a function's process."""
    stage.signal(visit.pid, signal.SIGKILL)
    visit.answer()
    return
    yield


def kill_conductor(stage: Stage, visit: Visit) -> Course:
    """`kill -9` of `lambdafit train`, or of the resume."""
    stage.kill_conductor()
    visit.answer()
    return
    yield


def interrupt(stage: Stage, visit: Visit) -> Course:
    """Ctrl-C."""
    stage.interrupted = True
    stage.signal(stage.conductor, signal.SIGINT)
    return
    yield


def kill_both(stage: Stage, visit: Visit) -> Course:
    """Both at once."""
    stage.signal(visit.pid, signal.SIGKILL)
    stage.kill_conductor()
    visit.answer()
    return
    yield


def die(stage: Stage, visit: Visit) -> Course:
    """The function leaves without a word."""
    visit.answer("exit 3")
    return
    yield


def raise_error(stage: Stage, visit: Visit) -> Course:
    """An exception that nobody expects."""
    visit.answer("raise")
    return
    yield


def stop_past_the_limit(stage: Stage, visit: Visit) -> Course:
    """SIGSTOP until the engine kills it."""
    with _stopped(stage, visit.pid):
        visit.answer()
        while psutil.pid_exists(visit.pid):
            yield


def stop_conductor(stage: Stage, visit: Visit) -> Course:
    """SIGSTOP of the conductor until everybody waits for it."""
    with _stopped(stage, stage.conductor):
        while (yield) is not None:
            pass


def zombie(stage: Stage, visit: Visit) -> Course:
    """SIGSTOP while the conductor's clock passes the claim's end; SIGCONT when another has reported on its task."""
    return _overtaken(stage, visit, LEASE_S)


def straggler(stage: Stage, visit: Visit) -> Course:
    """SIGSTOP while the others of its round report and a backup overtakes it; then SIGCONT."""
    return _overtaken(stage, visit, BACKUP_S)


def _overtaken(stage: Stage, visit: Visit, ahead_s: float) -> Course:
    until, reported = time.monotonic() + HOLD_S, ("reported", visit.task)
    stage.skew("conductor", ahead_s)
    try:
        with _stopped(stage, visit.pid):
            visit.answer()
            while time.monotonic() < until:
                other = yield
                if other is not None and other.pid != visit.pid and (other.point, other.task) == reported:
                    stage.outcome.notes["overtaken"] += 1
                    break
        # Now its report comes, too late.
        while time.monotonic() < until:
            other = yield
            if other is not None and other.pid == visit.pid:
                break
    finally:
        stage.skew("conductor", 0.0)


@contextlib.contextmanager
def _stopped(stage: Stage, pid: int) -> Iterator[None]:
    stage.signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        stage.signal(pid, signal.SIGCONT)


def eat_memory(stage: Stage, visit: Visit) -> Course:
    """The function takes more memory than it may."""
    visit.answer("eat 450")
    return
    yield


# --- events and reports ------------------------------------------------------------------------------------


def lose_report(stage: Stage, visit: Visit) -> Course:
    """The function believes that it has reported."""
    visit.answer("lose")
    return
    yield


def pause(stage: Stage, visit: Visit) -> Course:
    """The time limit is near after the first step."""
    visit.answer("hurry")
    return
    yield


def deliver_twice(stage: Stage, visit: Visit) -> Course:
    """An event comes twice."""
    visit.answer("twice")
    return
    yield


def lose_event(stage: Stage, visit: Visit) -> Course:
    """An event never comes; the offer runs out while the conductor's clock passes on."""
    visit.answer("drop")
    try:
        while (yield) is not None:  # until it is missed
            pass
        stage.skew("conductor", 25.0)
        while (yield) is None:
            pass
    finally:
        stage.skew("conductor", 0.0)


def stop_the_run(stage: Stage, visit: Visit) -> Course:
    """`runs stop`, by another process."""
    with stage.store() as store:
        runs = store.list_runs(1)
        if runs:
            # Of the services, a stop uses the store and the clock.
            services = Services(store, store, None, None, _Clock(), None)  # type: ignore[arg-type]
            with contextlib.suppress(sqlite3.OperationalError):
                cancel(services, runs[0].run_id)
    return
    yield


class _Clock:
    def now(self) -> float:
        return time.time()


# --- clocks ------------------------------------------------------------------------------------------------


def skew(role: str, seconds: float, visits: int = 12) -> object:
    """A role's clock jumps, and jumps back after some visits."""

    def course(stage: Stage, visit: Visit) -> Course:
        stage.skew(role, seconds)
        try:
            for _ in range(visits):
                yield
        finally:
            stage.skew(role, 0.0)

    return course


# --- files -------------------------------------------------------------------------------------------------


def damage(what: str, how: str) -> object:
    """Bytes of a file that the visitor is about to read are flipped, lost or all lost, or the file is.

    Args:
        what: `updates`, `state` or `parameters`.
        how: `flip`, `truncate`, `zeros` or `remove`.
    """

    def course(stage: Stage, visit: Visit) -> Course:
        run = stage.run()
        path = run and _victim(stage, visit, run, what)
        if not run or not path or not path.exists():
            return
        content = path.read_bytes()
        _damage(path, content, how)
        try:
            while True:
                yield
        finally:
            now = stage.run()
            if now is not None and now.status != "FINISHED" and what != "updates":
                # From a backup. What is gone for good no run can bring back; it only has to say so.
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                path.chmod(0o600)

    return course


def _victim(stage: Stage, visit: Visit, run: Run, what: str) -> Path | None:
    """A file that the task at the gate will read."""
    shared = stage.home / "shared"
    if what == "parameters":
        return shared / run.parameters[visit.index % len(run.parameters)].path if run.parameters else None
    back = 1 if what == "state" else 0
    with stage.store() as store:
        tasks = store.load_tasks(run.run_id, run.round_index - back)
    files = [
        task.report.outputs[what.removesuffix("s")].path
        for key, task in sorted(tasks.items())
        if key.kind == "train" and task.report and what.removesuffix("s") in task.report.outputs
    ]
    return shared / files[visit.index % len(files)] if files else None


def _damage(path: Path, content: bytes, how: str) -> None:
    match how:
        case "flip":
            middle = len(content) - 9  # among the values
            path.write_bytes(content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :])
        case "truncate":
            path.write_bytes(content[:-5])
        case "zeros":  # as after a loss of power
            path.write_bytes(bytes(len(content)))
        case "remove":
            path.unlink()


def damage_checkpoint(stage: Stage, visit: Visit) -> Course:
    """A worker has to pause, and its checkpoint is damaged before it goes on."""
    visit.answer("hurry")
    while True:
        again = yield
        if again is None or (again.point, again.task) != ("claimed", visit.task):
            continue
        run = stage.run()
        key = TaskKey(round_index=visit.round_index, kind="train", index=visit.index)
        with stage.store() as store:
            task = store.load_task(run.run_id, key) if run else None
        if task is not None and task.resume is not None:
            path = stage.shared_disk / task.resume.outputs["checkpoint"].path
            _damage(path, path.read_bytes(), "zeros")
            stage.outcome.notes["checkpoints damaged"] += 1
        return


# --- the store and the disk --------------------------------------------------------------------------------


def lock_store(stage: Stage, visit: Visit) -> Course:
    """Another process writes into the run store until everybody waits for it."""
    with _locked(stage):
        while (yield) is not None:
            pass


def lock_store_for_long(stage: Stage, visit: Visit) -> Course:
    """Another process holds the run store for longer than anybody waits."""
    with _locked(stage):
        until = time.monotonic() + LONGER_THAN_BUSY_S
        while time.monotonic() < until:
            yield


@contextlib.contextmanager
def _locked(stage: Stage) -> Iterator[None]:
    if not (stage.home / "runs.db").exists():
        yield
        return
    connection = sqlite3.connect(stage.home / "runs.db", timeout=1.0, isolation_level=None)
    try:
        with contextlib.suppress(sqlite3.OperationalError):  # somebody who was stopped has it
            connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


def disk_full(stage: Stage, visit: Visit) -> Course:
    """Not a byte is left, until the program gives up or nothing moves any more."""
    with fill(stage.disk):
        quiet = 0
        while quiet < 8:
            quiet = 0 if (yield) is not None else quiet + 1


def disk_full_for_a_moment(stage: Stage, visit: Visit) -> Course:
    """Not a byte is left, for some visits."""
    with fill(stage.disk):
        for _ in range(5):
            yield


def read_only(stage: Stage, visit: Visit) -> Course:
    """The shared files cannot be written to any more, as when a disk has failed: until the program gives up."""
    while not is_read_only(stage.shared_disk, True):
        yield  # somebody is writing just now
    try:
        quiet = 0
        while quiet < 8:
            quiet = 0 if (yield) is not None else quiet + 1
    finally:
        assert is_read_only(stage.shared_disk, False)
