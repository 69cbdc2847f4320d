"""`logs`: what the functions of a run printed, environment by environment.

Each environment writes one file; START, END and REPORT lines, which name the request, stand around what an
invocation printed. A worker's requests are known from its tasks.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import click

from cli.failure import echo_error
from cli.home_access import open_runs
from contracts.errors import InvalidSetting, RunNotFound
from contracts.ports import RunStore
from contracts.records import TaskKey
from engines.home import LOG_SUFFIX

POLL_S = 0.25
AT_REST_S = 2.0
START = re.compile(r"START RequestId: (\S+)")
ENDED = re.compile(r"REPORT RequestId: (\S+)")


@dataclass
class LogFile:
    """One environment's log, read as it grows. Lines of a request are held back until it is known whose it is."""

    path: Path
    position: int = 0
    partial: bytes = b""
    current: str = ""
    lines: list[tuple[str, str]] = field(default_factory=list)
    ended: set[str] = field(default_factory=lambda: {""})

    def read(self, *, to_the_end: bool) -> None:
        """Read what came since the last time.

        Args:
            to_the_end: also an unfinished last line.
        """
        try:
            with self.path.open("rb") as stream:
                stream.seek(self.position)
                data = self.partial + stream.read()
                self.position = stream.tell()
        except FileNotFoundError:  # removed while it was followed
            return
        *whole, self.partial = data.split(b"\n")
        if to_the_end and self.partial:
            whole.append(self.partial)
            self.partial = b""
        for line in whole:
            text = line.decode(errors="replace").rstrip("\r")
            begins, ends = START.match(text), ENDED.match(text)
            self.current = begins[1] if begins else self.current
            self.lines.append((self.current, text))
            if ends:
                self.ended.add(self.current)
                self.current = ""

    def take(self, requests: frozenset[str] | None) -> list[str]:
        """The lines that are wanted, once.

        Args:
            requests: of these; asked for after the last `read`, so that it names all that have ended. None for all.
        """
        wanted = [text for request, text in self.lines if requests is None or request in requests]
        known = self.ended | (requests or frozenset())
        self.lines = [] if requests is None else [line for line in self.lines if line[0] not in known]
        return wanted


class WorkerRequests:
    """The ids of all requests that worked for one worker, kept up to date."""

    def __init__(self, store: RunStore, run_id: str, worker: int) -> None:
        self._store = store
        self._run_id = run_id
        self._worker = worker
        self._found: frozenset[str] = frozenset()
        self._round_index = 1

    def refresh(self) -> frozenset[str]:
        """All that are known by now. Rounds that are over are not read again."""
        try:
            last = self._store.load_run(self._run_id).round_index
        except RunNotFound:
            return self._found
        for round_index in range(self._round_index, last + 1):
            task = self._store.load_task(
                self._run_id, TaskKey(round_index=round_index, kind="train", index=self._worker)
            )
            if task is not None:
                claim = {task.claim.request_id} if task.claim else set()
                self._found |= claim | {record.request_id for record in task.history}
        self._round_index = max(1, last - 1)
        return self._found


def show_logs(name: str, worker: int | None, *, follow: bool) -> None:
    """Print a run's logs.

    Args:
        worker: only this worker's.
        follow: go on while the run is being conducted.
    """
    folder = open_runs()
    run = folder.find(name)
    if worker is not None and worker >= run.settings.workers:
        raise InvalidSetting("--worker", str(worker), f"0 to {run.settings.workers - 1}")
    requests = None if worker is None else WorkerRequests(folder.store, run.run_id, worker)
    files: dict[Path, LogFile] = {}
    printed = 0
    at_rest_since = time.monotonic()
    while True:
        news = _print_news(folder.home.log_folder(run.run_id), files, requests, to_the_end=not follow)
        printed += news
        now = time.monotonic()
        if news or (follow and folder.is_conducted(run.run_id)):
            at_rest_since = now
        if not follow or now - at_rest_since > AT_REST_S:
            break
        time.sleep(POLL_S)
    if not printed:
        who = f"Worker {worker} of run" if worker is not None else "Run"
        echo_error(f"{who} {run.run_id} has printed nothing.")


def _print_news(
    log_folder: Path, files: dict[Path, LogFile], requests: WorkerRequests | None, *, to_the_end: bool
) -> int:
    for path in sorted(log_folder.glob(f"*{LOG_SUFFIX}")):
        files.setdefault(path, LogFile(path)).read(to_the_end=to_the_end)
    wanted = requests.refresh() if requests is not None else None
    printed = 0
    for path, file in sorted(files.items()):
        for line in file.take(wanted):
            click.echo(f"{click.style(path.stem, fg='cyan')}  {line}")
            printed += 1
    return printed
