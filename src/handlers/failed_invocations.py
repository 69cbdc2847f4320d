"""Messages of the queue of failed invocations: what Lambda tells of an asynchronous invocation that did not succeed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from contracts.errors import ErrorRecord, InvalidMessage, InvalidRunId, InvocationFailed
from contracts.function_errors import error_in_answer
from contracts.messages import is_probe, is_warm_up, parse_task
from contracts.stack_errors import ForeignRecord, InvalidRecord
from runs.reconcile import EndedInvocation

THROTTLED = "EventAgeExceeded"


class RequestContext(msgspec.Struct, rename="camel"):
    """Which invocation."""

    request_id: str
    function_arn: str
    condition: str = ""
    approximate_invoke_count: int = 1


class DestinationRecord(msgspec.Struct, rename="camel"):
    """What Lambda sends to an asynchronous invocation's destination (AWS: "Capturing records of invocations")."""

    request_context: RequestContext
    request_payload: dict[str, Any]
    response_context: dict[str, Any] | None = None
    response_payload: Any = None


def message_id(record: Any) -> str:
    """What the queue calls a message; empty where it has no such name."""
    name = record.get("messageId") if isinstance(record, Mapping) else None
    return name if isinstance(name, str) else ""


def read_failure(record: Any, functions: Mapping[str, str]) -> EndedInvocation | None:
    """The invocation that a message tells of; None where it was no task's.

    Args:
        functions: names or ARNs of this stack's functions that do tasks.
    Raises:
        InvalidRecord: the message is no destination record, or the event was no task.
        ForeignRecord: the function is none of these.
    """
    where = f"queue message {message_id(record) or 'without an id'}"
    body = record.get("body") if isinstance(record, Mapping) else None
    if not isinstance(body, str):
        raise InvalidRecord(where, "it has no body", "a record of a failed invocation")
    try:
        failure = msgspec.json.decode(body, type=DestinationRecord)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InvalidRecord(where, str(error), "a record of a failed invocation") from None
    context = failure.request_context
    name = function_name(context.function_arn)
    if name not in {function_name(function) for function in functions.values()}:
        raise ForeignRecord(where, f"it tells of the function {name!r}", "one of this stack's that do tasks")
    if is_probe(failure.request_payload) or is_warm_up(failure.request_payload):
        return None
    try:
        task = parse_task(failure.request_payload)
    except (InvalidMessage, InvalidRunId) as error:
        raise InvalidRecord(
            where, f"the event that {name} failed at is no task ({error.message.rstrip('.')})"
        ) from None
    return EndedInvocation(task, context.request_id, _error(failure, name))


def function_name(name_or_arn: str) -> str:
    """The name in a function's ARN, without version or alias; a name as it is."""
    parts = name_or_arn.split(":")
    return parts[6] if len(parts) > 6 else parts[0]


def _error(failure: DestinationRecord, name: str) -> ErrorRecord | None:
    context, answer = failure.request_context, failure.response_payload
    # Throttled until it was too old, it was never run: its offer stands, and is sent again, each time after a longer
    # while. Sent at once, many would use up their offers within minutes while others hold all the concurrency.
    if context.condition in ("Success", THROTTLED):
        return None
    if isinstance(answer, Mapping):
        return error_in_answer(msgspec.json.encode(answer), name).record()
    # Without an answer the function was not run at all.
    response = failure.response_context or {}
    said = ", ".join(str(part) for part in (context.condition, response.get("statusCode")) if part)
    received = f"Lambda gave up after {context.approximate_invoke_count} tries ({said or 'without a reason'})"
    advice = "It is sent again. Where it stays so: fewer --workers, or a larger quota of concurrent executions."
    return InvocationFailed(f"function {name!r}", received, "an answer", advice=advice).record()
