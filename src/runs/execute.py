"""How one invocation does one task: claim, work, report. The same for every kind of task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from contracts.errors import CodeChanged, InvalidMessage, Refused, RunNotFound, unexpected
from contracts.messages import NEWEST_RUN, TaskMessage
from contracts.ports import Deadline
from contracts.records import FileRef, Report, Run, Span, SpanBatch, Task, Transfer
from runs import transitions
from runs.code_version import code_version
from runs.services import Services
from runs.stages import required_tasks
from runs.transfer import NOTHING, metering, most, total

logger = logging.getLogger(__name__)

MIN_MARGIN_S = 0.75
MAX_MARGIN_S = 20.0


@dataclass
class Execution:
    """A claimed task in the hands of the code that does it."""

    services: Services
    deadline: Deadline
    run: Run
    task: Task
    nonce: str
    request_id: str
    attempt: int
    spans: list[Span] = field(default_factory=list)
    written: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        """For error messages."""
        key = self.task.key
        worker = f" worker {key.index}" if key.kind == "train" else ""
        return f"run {self.run.run_id} round {key.round_index} {key.kind}{worker}"

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Record where the time goes."""
        start_s = self.services.clock.now()
        try:
            yield
        finally:
            self.spans.append(Span(name=name, start_s=start_s, end_s=self.services.clock.now()))

    @property
    def spare_s(self) -> float:
        """Seconds left for work: an eighth of the time limit, within bounds, is kept for saving and reporting."""
        margin_s = min(MAX_MARGIN_S, max(MIN_MARGIN_S, self.run.settings.time_limit_s / 8))
        return self.deadline.remaining_s() - margin_s

    def check_wanted(self) -> None:
        """Leave a long work whose run has ended meanwhile.

        Raises:
            Refused: it has.
        """
        if self.services.store.load_run(self.run.run_id).ended:
            raise Refused(f"run {self.run.run_id} has ended")

    def wrote(self, ref: FileRef) -> FileRef:
        """Remember a file of this execution: it goes again if the report is refused."""
        self.written.append(ref.path)
        return ref

    def done(self, **fields: Any) -> Report:
        """A report that the task is done."""
        return Report(outcome="done", nonce=self.nonce, spans=tuple(self.spans), **fields)


Work = Callable[[Execution], Report]


def execute(
    message: TaskMessage,
    services: Services,
    deadline: Deadline,
    request_id: str,
    work: Mapping[str, Work],
    before: Sequence[Span] = (),
    moved_before: Transfer = NOTHING,
) -> dict[str, Any]:
    """Claim the task, do it, report.

    A duplicate or late message finds the task claimed or done and leaves; so does a report that came too late,
    taking its files along.

    Args:
        work: for each kind of task that this function does, how.
        before: what took time before this invocation, and on its account.
        moved_before: likewise, through the shared files.
    Returns:
        what happened, for the log: nobody acts on it.
    Raises:
        InvalidMessage: it is the task of another function; nothing was claimed.
    """
    if message.key.kind not in work:
        raise InvalidMessage("event", f"task is {message.key.kind!r}", f"one of {', '.join(work)} for this function")
    try:
        execution = _claim(message, services, deadline, request_id)
        execution.spans.extend(before)
    except Refused as refusal:
        return {"run_id": message.run_id, "task": str(message.key), "outcome": "left", "why": str(refusal)}
    try:
        with metering() as meter:
            report = _done(execution, work[execution.task.key.kind])
        report = replace(report, transfer=total([moved_before, meter.transfer]))
    except Refused as refusal:
        _discard(execution)
        return {"run_id": execution.run.run_id, "task": str(message.key), "outcome": "left", "why": str(refusal)}
    answer = {"run_id": execution.run.run_id, "task": str(message.key), "attempt": execution.attempt}
    try:
        submit(execution, report)
    except Refused as refusal:
        _discard(execution)
        return answer | {"outcome": "left", "why": str(refusal)}
    return answer | {"outcome": report.outcome} | ({"error": str(report.error)} if report.error else {})


def _done(execution: Execution, work: Work) -> Report:
    """The report of the work, or of its failure.

    Raises:
        Refused: it is not wanted any more.
    """
    try:
        if execution.run.code_version != code_version():
            raise CodeChanged(execution.where, f"the code is {code_version()}", execution.run.code_version)
        return work(execution)
    except Refused:
        raise
    except Exception as error:
        logger.exception("%s failed", execution.where)
        _discard(execution)
        failure = unexpected(error, execution.where).record()
        return Report(outcome="failed", nonce=execution.nonce, error=failure, spans=tuple(execution.spans))


def submit(execution: Execution, report: Report) -> None:
    """Hand in a report.

    Raises:
        Refused: the claim has passed to somebody else meanwhile.
    """
    services, run_id = execution.services, execution.run.run_id
    key = execution.task.key
    while True:
        task = services.store.load_task(run_id, key)
        changed = transitions.reported(task, report, execution.run.settings, services.clock.now())
        if services.store.save_task(run_id, changed):
            break
    batch = SpanBatch(key=key, attempt=execution.attempt, request_id=execution.request_id, spans=tuple(execution.spans))
    services.telemetry.put_spans(run_id, batch)


def _claim(message: TaskMessage, services: Services, deadline: Deadline, request_id: str) -> Execution:
    run_id = message.run_id if message.run_id != NEWEST_RUN else _newest_run(services)
    nonce = services.randomness.nonce()
    while True:
        run = services.store.load_run(run_id)
        now = services.clock.now()
        if run.status != "RUNNING":
            raise Refused(f"run {run_id} is {run.status}")
        if now >= run.deadline_at:
            raise Refused(f"run {run_id} is past its deadline")
        if message.key.kind != "clear" and message.key not in required_tasks(run):
            raise Refused(f"run {run_id} is at {run.stage}")
        task = services.store.load_task(run_id, message.key)
        transfer = most(run, message.key.kind)
        claimed = transitions.claimed(task, message.attempt, nonce, request_id, run.settings, now, transfer)
        if services.store.save_task(run_id, claimed, stage=run.stage):
            return Execution(services, deadline, run, claimed, nonce, request_id, claimed.attempt)


def _newest_run(services: Services) -> str:
    runs = services.store.list_runs(limit=1)
    if not runs:
        raise RunNotFound("event", "it names no run, and there is none yet", "a run_id, or one run")
    return runs[0].run_id


def _discard(execution: Execution) -> None:
    for path in execution.written:
        execution.services.files.remove(path)
