"""What the functions of a run in a stack printed, from CloudWatch Logs.

An environment is a log stream; START and REPORT lines, which name the request, stand around what an invocation
printed. Which requests worked for a run is known from its tasks, or from a line that names the run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from cli.home_logs import WorkerRequests
from contracts.records import Run
from engines.aws import AwsEngine
from engines.aws_stack.account import aws_errors, error_code

BEGINS = re.compile(r'START RequestId: (\S+)|"type"\s*:\s*"platform\.start".*?"requestId"\s*:\s*"([^"]+)"')
ENDS = re.compile(r'REPORT RequestId: (\S+)|"type"\s*:\s*"platform\.report".*?"requestId"\s*:\s*"([^"]+)"')
OF_ALL = ("start", "prepare", "train", "combine", "conduct")
OF_WORKER = ("train",)
AFTERWARDS_MS = 60_000
"""A run's last report comes before its functions have printed their last."""

OVERLAP_MS = 30_000
"""CloudWatch shows lines some seconds late, and not in order: what came lately is read again."""

MS = 1_000


@dataclass
class LogStream:
    """One environment's log. Lines of a request are held back until it is known whose it is."""

    name: str
    current: str = ""
    lines: list[tuple[str, str]] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)

    def add(self, text: str) -> str:
        """Take the next line. Returns the request that it belongs to; empty between two."""
        begins, ends = BEGINS.search(text), ENDS.search(text)
        if begins:
            self.current = begins[1] or begins[2]
        request = self.current
        self.lines.append((request, text))
        if ends:
            self.ended.add(request)
            self.current = ""
        return request

    def take(self, wanted: Callable[[str], bool], *, to_the_end: bool) -> list[str]:
        """The lines of requests that are wanted, once; of others nothing is kept that could not be wanted later."""
        found = [text for request, text in self.lines if wanted(request)]
        self.lines = [
            (request, text)
            for request, text in self.lines
            if request and not wanted(request) and request not in self.ended and not to_the_end
        ]
        return found


class StackLogs:
    """Implements `cli.runs_place.LogReader` on CloudWatch Logs.

    Args:
        worker: only what this one printed; None for all.
    """

    poll_s = 2.0
    at_rest_s = 10.0

    def __init__(self, engine: AwsEngine, run: Run, worker: int | None) -> None:
        self._client = engine.account.client("logs")
        self._place = engine.stack.place
        self._run_id = run.run_id
        self._store = engine.services.store
        self._worker = None if worker is None else WorkerRequests(self._store, run.run_id, worker)
        names = engine.stack.functions
        self._groups = {
            function: f"/aws/lambda/{names[function]}" for function in (OF_ALL if worker is None else OF_WORKER)
        }
        self._since_ms = {function: int(run.created_at * MS) - MS for function in self._groups}
        self._seen: set[str] = set()
        self._of_run: set[str] = set()
        self._streams: dict[tuple[str, str], LogStream] = {}

    def news(self, *, to_the_end: bool) -> Sequence[tuple[str, str]]:
        """See `LogReader.news`."""
        for function, group in self._groups.items():
            for event in self._events(function, group):
                self._take_in(function, event)
        of_worker = self._worker.refresh() if self._worker is not None else None

        def wanted(request: str) -> bool:
            return request in (self._of_run if of_worker is None else of_worker)

        return [
            (stream.name, line)
            for _, stream in sorted(self._streams.items())
            for line in stream.take(wanted, to_the_end=to_the_end)
        ]

    def _take_in(self, function: str, event: dict[str, Any]) -> None:
        key = (function, event["logStreamName"])
        number = 1 + sum(1 for other, _ in self._streams if other == function)
        stream = self._streams.setdefault(key, LogStream(f"{function}-{number:02d}"))
        text = event["message"].rstrip("\r\n")
        request = stream.add(text)
        if request and self._run_id in text:
            self._of_run.add(request)

    def _events(self, function: str, group: str) -> Iterator[dict[str, Any]]:
        """What has come since the last time, each event once, oldest first."""
        ended_at = self._store.load_run(self._run_id).ended_at
        window: dict[str, int] = {"startTime": self._since_ms[function]}
        if ended_at:
            window["endTime"] = int(ended_at * MS) + AFTERWARDS_MS
        found: list[dict[str, Any]] = []
        with aws_errors(f"{self._place}, log group {group}"):
            try:
                for page in self._client.get_paginator("filter_log_events").paginate(logGroupName=group, **window):
                    found += [event for event in page["events"] if event["eventId"] not in self._seen]
            except ClientError as error:
                if error_code(error) != "ResourceNotFoundException":  # nothing was ever printed
                    raise
        self._seen |= {event["eventId"] for event in found}
        if found:
            newest = max(int(event["timestamp"]) for event in found)
            self._since_ms[function] = max(self._since_ms[function], newest - OVERLAP_MS)
        yield from sorted(found, key=lambda event: (event["timestamp"], event["eventId"]))
