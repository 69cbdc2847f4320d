"""What the functions of a run on this machine printed, environment by environment.

Each environment writes one file; START, END and REPORT lines, which name the request, stand around what an
invocation printed. A worker's requests are known from its tasks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contracts.errors import RunNotFound
from contracts.ports import RunStore
from contracts.records import TaskKey
from engines.home import LOG_SUFFIX

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


class HomeLogs:
    """Implements `cli.runs_place.LogReader` on the log files of one run.

    Args:
        worker: only what this one printed; None for all.
    """

    poll_s = 0.25
    at_rest_s = 2.0

    def __init__(self, folder: Path, store: RunStore, run_id: str, worker: int | None) -> None:
        self._folder = folder
        self._requests = None if worker is None else WorkerRequests(store, run_id, worker)
        self._files: dict[Path, LogFile] = {}

    def news(self, *, to_the_end: bool) -> Sequence[tuple[str, str]]:
        """See `LogReader.news`."""
        for path in sorted(self._folder.glob(f"*{LOG_SUFFIX}")):
            self._files.setdefault(path, LogFile(path)).read(to_the_end=to_the_end)
        wanted = self._requests.refresh() if self._requests is not None else None
        return [(path.stem, line) for path, file in sorted(self._files.items()) for line in file.take(wanted)]
