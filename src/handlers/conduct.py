"""Lambda function Conduct: brings runs forward. No TensorFlow.

Two mappings send to it: the table's stream (a task is done, failed or waits; a run has changed) and the queue of failed
invocations. Either way a record only says which run to look at: what is to be done follows from the store alone, so
duplicates and any order do no harm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aws_lambda_powertools import Logger

from contracts.errors import InvocationFailed, RunNotFound
from contracts.messages import NEWEST_RUN
from handlers import wiring
from handlers.failed_invocations import message_id, read_failure
from handlers.partial_failures import PartialFailures
from handlers.stream_records import QUEUE, read_change, records_of, sequence_number, source_of
from runs.reconcile import EndedInvocation, reconcile

LEAST_TIME_S = 5.0
"""What is not begun with so little time left is delivered again."""

logger = Logger(service="conduct")


@dataclass
class Visit:
    """One run to look at: the records that ask for it, and the invocations that have ended."""

    names: list[str] = field(default_factory=list)
    ended: list[EndedInvocation] = field(default_factory=list)


@logger.inject_lambda_context(clear_state=True)
def handler(event: Mapping[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """Reconcile each run of a batch once. Answers which records are to be delivered again."""
    failures = PartialFailures(logger)
    deadline = wiring.ContextDeadline(context)
    for run_id, visit in _visits(records_of(event), failures).items():
        try:
            if deadline.remaining_s() < LEAST_TIME_S:
                raise InvocationFailed(f"run {run_id}", "no time was left for it in this batch", "another delivery")
            run, _ = reconcile(wiring.services(), run_id, visit.ended)
        except RunNotFound:
            logger.info("run was deleted meanwhile", extra={"run_id": run_id})
        except Exception as error:  # noqa: BLE001 - whatever it is, the other runs go on
            failures.note(visit.names, error, run_id)
        else:
            logger.info("reconciled", extra={"run_id": run_id, "stage": run.stage, "records": len(visit.names)})
    return failures.answer()


def _visits(records: list[Any], failures: PartialFailures) -> dict[str, Visit]:
    """The runs to look at, in the order of their first records; records that cannot be read are noted and left out."""
    known = wiring.environment()
    visits: dict[str, Visit] = defaultdict(Visit)
    for record in records:
        from_queue = source_of(record) == QUEUE
        name = message_id(record) if from_queue else sequence_number(record)
        try:
            if from_queue:
                ended = read_failure(record, known.functions)
                if ended is not None and (run_id := _run_of(ended)):
                    visits[run_id].names.append(name)
                    visits[run_id].ended.append(ended)
            else:
                change = read_change(record, known.table)
                if change is not None:
                    visits[change.run_id].names.append(name)
        except Exception as error:  # noqa: BLE001 - poison of whatever kind spoils no other record
            failures.note([name], error)
    return visits


def _run_of(ended: EndedInvocation) -> str:
    """The run of an invocation; empty where a bare event meant the newest, and there is none."""
    if ended.message.run_id != NEWEST_RUN:
        return ended.message.run_id
    newest = wiring.services().store.list_runs(limit=1)
    return newest[0].run_id if newest else ""
