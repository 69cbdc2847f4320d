"""One run on this machine with faults done to it: `lambdafit train`, then `runs resume` until it is finished."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from contracts.records import Run
from fakes.arithmetic_trainer import ArithmeticTrainer
from faults.disks import disk
from faults.gate import Gate, Visit
from stores.shared_files import FolderFiles
from stores.sqlite import SqliteStore
from training.feature_blocks import SPLITS, load_features

PROGRAM = Path(__file__).with_name("faulty_cli.py")
PATIENCE_S = 150.0
"""For one schedule."""

MISLEADING = frozenset({"E306", "E406"})
"""No schedule damages a run store, and none of its faults is unexpected: whoever says so sends the user astray."""

Course = Generator[None, "Visit | None", None]
"""A fault under way: told of every visit, and of None where all is quiet. Its `finally` puts right what it did."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and at which visit: the `count`-th (from 1) of those that it fits."""

    name: str
    fits: Callable[[Visit], bool]
    count: int
    begin: Callable[[Stage, Visit], Course]
    disk: bool = False
    faketime: bool = False
    moment: str = ""
    how: str = ""

    def __str__(self) -> str:
        return f"{self.name} at {self.moment} {self.count}"


@dataclass(frozen=True)
class Shape:
    """A run."""

    arguments: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    disk_bytes: int = 24 << 20
    """Of its disk, where it has one of its own, and of that of the shared files."""

    def __hash__(self) -> int:
        return hash(self.arguments)


SMALL = Shape(("--workers", "4", "--rounds", "4", "--steps-per-round", "3", "--batch-size", "4"))
LONG = Shape(
    ("--workers", "2", "--rounds", "14", "--steps-per-round", "2", "--batch-size", "4"),
    {"LAMBDAFIT_TEST_PARAMETERS": "300000"},
    disk_bytes=400 << 20,
)
"""Vectors of 2.4 MB and enough rounds for clearing up: its files are written over spares."""

FROZEN = Shape(
    ("--workers", "3", "--rounds", "2", "--steps-per-round", "3", "--batch-size", "4"),
    {"LAMBDAFIT_TEST_BACKBONE": "0123456789abcdef" * 2},
)
"""The outputs of a frozen backbone are computed first, in 31 blocks."""


@dataclass
class Outcome:
    """How a schedule ended."""

    digest: str = ""
    struck: list[Fault] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    """How each program but the last ended: an error's number, `killed` or `interrupted`."""

    notes: Counter[str] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)
    """What those programs printed on their standard error."""

    wrong: str = ""
    seconds: float = 0.0


class Stage:
    """What faults work with.

    Args:
        folder: empty; the home is made in it.
        schedule: the faults, each struck once.
    """

    def __init__(
        self, folder: Path, shape: Shape, schedule: Sequence[Fault], variables: Mapping[str, str] = {}
    ) -> None:
        self.disk = folder / "disk"
        self.home, self.clocks = self.disk / "home", folder / "clocks"
        self.shared_disk = self.home / "shared"
        self.clocks.mkdir(exist_ok=True)
        self.shape, self.waiting, self.seen = shape, list(schedule), Counter[int]()
        self.outcome = Outcome()
        self.courses: list[Course] = []
        self.program: subprocess.Popen[str] | None = None
        self.pids: set[int] = set()
        self.killed = self.interrupted = False
        self._until = time.monotonic() + PATIENCE_S
        self._folder, self._variables = folder, dict(variables or {})

    # --- what faults do -------------------------------------------------------------------------------------

    @property
    def conductor(self) -> int:
        """The conducting process."""
        assert self.program is not None
        return self.program.pid

    def signal(self, pid: int, number: signal.Signals) -> None:
        """To a process of this run; it may be gone."""
        assert pid in self.pids
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def kill_conductor(self) -> None:
        """SIGKILL."""
        self.killed = True
        self.signal(self.conductor, signal.SIGKILL)

    def skew(self, role: str, seconds: float) -> None:
        """Have a role's clock be wrong; written whole, as it may be read at any moment."""
        new = self.clocks / f".{role}"
        new.write_text(f"{seconds:+f}")
        new.rename(self.clocks / role)

    def faketime(self) -> dict[str, str]:
        """What gives processes the clock of the role `machine`."""
        return {
            "LD_PRELOAD": libfaketime(),
            "FAKETIME_TIMESTAMP_FILE": str(self.clocks / "machine"),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    @contextlib.contextmanager
    def store(self) -> Any:
        """The run store, from a process of its own: this one."""
        store = SqliteStore(self.home / "runs.db")
        try:
            yield store
        finally:
            store.close()

    def run(self) -> Run | None:
        """The run as it stands, if there is one."""
        if not (self.home / "runs.db").exists():
            return None
        with self.store() as store:
            runs = store.list_runs(1)
        return runs[0] if runs else None

    # --- the play -------------------------------------------------------------------------------------------

    def play(self) -> Outcome:
        """Train, and resume until the run is finished. Everything is put right before a resume."""
        began = time.monotonic()
        most = len(self.waiting) + 4
        needs_disks = any(fault.disk for fault in self.waiting)
        if any(fault.faketime for fault in self.waiting):
            self.skew("machine", 0.0)
            self._variables |= self.faketime()
        try:
            with contextlib.ExitStack() as ends:
                if needs_disks:
                    for folder in (self.disk, self.shared_disk):
                        ends.enter_context(disk(folder, self.shape.disk_bytes))
                ends.callback(sweep_faketime, time.time())
                ends.callback(self._end_all)
                gate = ends.enter_context(Gate())
                answer: dict[str, Any] = {}
                while not self.outcome.wrong and answer.get("status") != "FINISHED":
                    answer = self._program(gate)
                    if len(self.outcome.ends) > most:
                        self.outcome.wrong = f"not finished after {most} resumes"
                if not self.outcome.wrong:
                    self.outcome.digest = str(answer["parameters_sha256"])
                    self.outcome.wrong = self._left_behind()
        finally:
            self.outcome.seconds = time.monotonic() - began
        return self.outcome

    def _program(self, gate: Gate) -> dict[str, Any]:
        """One program from its start to its end. Returns its answer."""
        train = ("train", "digits-mlp", *self.shape.arguments, "--json", "--quiet")
        command = ("runs", "resume", "latest", "--json", "--quiet") if self.run() else train
        out, err = self._folder / "stdout", self._folder / "stderr"
        self.killed = self.interrupted = False
        with out.open("w") as stdout, err.open("w") as stderr:
            self.program = subprocess.Popen(
                [sys.executable, "-P", str(PROGRAM), *command], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                env=self._environment(gate.port), cwd=self._folder,
            )  # fmt: skip
        self.pids.add(self.program.pid)
        try:
            self._serve(gate)
        finally:
            for course in reversed(self.courses):  # of two that damaged the same file, the first knows how it was
                course.close()
            self.courses.clear()
        if self.outcome.wrong:
            return {}
        return self._answer(self.program.wait(), out.read_text(), err.read_text())

    def _environment(self, port: int) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LAMBDAFIT_")}
        return (
            kept
            | {
                "LAMBDAFIT_HOME": str(self.home),
                "LAMBDAFIT_TEST_GATE": str(port),
                "LAMBDAFIT_TEST_CLOCKS": str(self.clocks),
                "LAMBDAFIT_TIMEOUT_S": "5",
                "LAMBDAFIT_CONCURRENCY": "2",
                "LAMBDAFIT_MEMORY_MB": "400",
            }
            | dict(self.shape.variables)
            | self._variables
        )

    def _serve(self, gate: Gate) -> None:
        """Let visits through until the program has ended, with the faults that are due."""
        while True:
            visit = gate.next(self.conductor)
            if isinstance(visit, int):
                return
            if time.monotonic() > self._until:
                self.outcome.wrong = f"no end within {PATIENCE_S:g} s: {self._where()}"
                return
            self._tell(visit)
            if visit is None:
                continue
            self.pids.add(visit.pid)
            for fault in [one for one in self.waiting if one.fits(visit)]:
                self.seen[id(fault)] += 1
                if self.seen[id(fault)] == fault.count and not visit.answered:
                    self.waiting.remove(fault)
                    self.outcome.struck.append(fault)
                    course = fault.begin(self, visit)
                    if _advance(course, begin=True):
                        self.courses.append(course)
            if not visit.answered:
                visit.answer()

    def _tell(self, visit: Visit | None) -> None:
        self.courses = [course for course in self.courses if _advance(course, visit)]

    def _answer(self, code: int, stdout: str, stderr: str) -> dict[str, Any]:
        """What the program said; how it ended is noted, where that is not the run's end."""
        ends = self.outcome.ends
        if "Traceback" in stderr or "This is a mistake in lambdafit" in stderr:
            self.outcome.wrong = stderr[-3000:]
        if code == -signal.SIGKILL and self.killed:
            ends.append("killed")
            return {}
        answer: dict[str, Any] = json.loads(stdout.splitlines()[-1]) if stdout.strip() else {}
        if code == 0 and answer.get("status") == "FINISHED":
            return answer
        self.outcome.said.append(stderr)
        number = (answer.get("error") or {}).get("number", "") or "".join(re.findall(r"^(E\d{3}) ", stderr)[:1])
        if number in MISLEADING:
            self.outcome.wrong = f"a misleading error: {stderr[-2000:]}"
        if number:
            ends.append(number)
        elif code in (130, -signal.SIGTERM, -signal.SIGINT) and self.interrupted:
            ends.append("interrupted")
        else:
            self.outcome.wrong = f"exit code {code}: {stdout[-500:]} {stderr[-2000:]}"
        return {}

    # --- the end --------------------------------------------------------------------------------------------

    def _where(self) -> str:
        run = self.run()
        if run is None:
            return "there is no run"
        with self.store() as store:
            tasks = store.load_tasks(run.run_id, run.round_index).values()
        return f"{run.stage} {run.error} " + ", ".join(f"{t.key} {t.status} {t.attempt}" for t in tasks)

    def _left_behind(self) -> str:
        """What a finished run should not have left; nothing is right."""
        run = self.run()
        assert run is not None
        folder = self.home / "shared" / "runs" / run.run_id
        kept = {ref.path for ref in (*run.parameters, *(run.best.parameters if run.best else ()))}
        found = {str(path.relative_to(self.home / "shared")) for path in folder.rglob("*/*/*")}
        if found != kept:
            return f"files: {sorted(found ^ kept)}"
        if list((self.home / "shared").glob("spares/*")):
            return "spares"
        alive = processes_in(self.home, self.pids)
        return f"processes: {alive}" if alive else self._wrong_features(run)

    def _wrong_features(self, run: Run) -> str:
        """What is wrong with the outputs of the run's backbone; nothing is right, or there is none."""
        if not run.feature_facts:
            return "no features" if "LAMBDAFIT_TEST_BACKBONE" in self.shape.variables else ""
        files, facts = FolderFiles(self.shared_disk), run.feature_facts
        names = {name.partition(".")[0] for name in files.names(facts["folder"])}
        if names != {"meta", "x_test", "x_train", "x_val"}:
            return f"beside the features: {names}"
        for split in SPLITS:
            rows = int(run.data_facts[f"{split}_examples"])
            wanted = ArithmeticTrainer().features(run, split, 0, rows)
            if not np.array_equal(load_features(files, facts, f"x_{split}"), wanted):
                return f"features of {split}"
        return ""

    def _end_all(self) -> None:
        """No process of this run outlives it, whatever happened."""
        if self.program is not None and self.program.poll() is None:
            self.program.kill()
            self.program.wait()
        for process in processes_in(self.home, self.pids):
            with contextlib.suppress(psutil.Error):
                process.kill()


@cache
def libfaketime() -> str:
    """Where the library is that makes a process's clock wrong; empty where it is not installed."""
    found = [path for folder in ("/usr/lib", "/usr/lib64") for path in Path(folder).glob("**/libfaketimeMT.so.1")]
    return str(found[0]) if found else ""


def sweep_faketime(since: float) -> None:
    """Remove what the library has left in shared memory for processes that were killed since then."""
    for path in Path("/dev/shm").glob("*faketime_*"):  # noqa: S108 - the library's own place
        with contextlib.suppress(OSError, ValueError):
            pid = int(path.name.rpartition("_")[2])
            if path.stat().st_mtime >= since and not psutil.pid_exists(pid):
                path.unlink()


def processes_in(home: Path, pids: set[int]) -> list[psutil.Process]:
    """The processes that work in a home, once those have gone that are going."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("LAMBDAFIT_HOME") == str(home):
                found.append(process)
    return list(psutil.wait_procs(found, timeout=5)[1])


def _advance(course: Course, visit: Visit | None = None, *, begin: bool = False) -> bool:
    """Returns whether the fault is still under way."""
    try:
        next(course) if begin else course.send(visit)
    except StopIteration:
        return False
    return True


@cache
def fault_free_digest(shape: Shape, folder: Path) -> str:
    """What the run gives when nothing happens to it."""
    folder.mkdir(parents=True)
    outcome = Stage(folder, shape, ()).play()
    assert not outcome.wrong and not outcome.ends, outcome
    return outcome.digest
