"""Errors of functions as data: from the JSON of a runtime, or of Lambda itself, back to numbered errors."""

from __future__ import annotations

import json
import re
from typing import Any

from contracts.error_catalogue import all_errors, error_from_record
from contracts.errors import (
    EnvironmentFailed,
    ErrorRecord,
    InvocationFailed,
    LambdafitError,
    OutOfMemory,
    TaskFailed,
    TimedOut,
)
from contracts.stack_errors import MountFailed

# How a numbered error prints itself: see contracts.errors.ErrorRecord.
PRINTED = re.compile(r"(?P<number>E\d{3}) (?P<name>\w+): (?P<rest>.*)", re.DOTALL)
MAX_MESSAGE_CHARACTERS = 4_000

# What Lambda itself says of a function that could not say it any more.
TIMED_OUT = re.compile(r"Task timed out after [\d.]+ seconds")
KILLED = re.compile(r"signal: killed|exit status 137\b")
EXITED = re.compile(r"Runtime exited|Process exited before completing request")
MOUNT = re.compile(r"EFS(MountTimeout|MountConnectivity|MountFailure|IO)(Exception)?\b")


def error_in_answer(body: bytes, function: str) -> LambdafitError:
    """What a runtime reported as a handler's exception.

    Args:
        body: JSON with `errorType` and `errorMessage`, as runtimes post it.
        function: its name, for the message.
    Returns:
        the numbered error itself where the handler raised one, else TaskFailed with type and message.
    """
    name, message = describe(body)
    numbered = parse_printed(message, name) or platform_error(name, message, f"function {function!r}")
    if numbered is not None:
        return numbered
    return TaskFailed(f"function {function!r}", f"{name}: {message}" if message else name)


def platform_error(name: str, message: str, where: str) -> LambdafitError | None:
    """What Lambda reports of a function that was killed, or that it could not start; None for any other error.

    Args:
        name: `errorType`.
        message: `errorMessage`.
        where: for the message.
    """
    received = f"{name}: {message}" if message else name
    if name == "Sandbox.Timedout" or (name in ("", "Error") and TIMED_OUT.search(message)):
        return TimedOut(where, message or name, "a report in time")
    if name == "Runtime.OutOfMemory" or (KILLED.search(message) and (EXITED.search(message) or "Runtime." in name)):
        return OutOfMemory(where, received)
    if MOUNT.search(name) or MOUNT.match(message):
        return MountFailed(where, received)
    if name.startswith(("Runtime.ImportModule", "Runtime.HandlerNotFound", "Runtime.UserCodeSyntax")):
        return EnvironmentFailed(where, received)
    if name == "Runtime.ExitError" or EXITED.search(message):
        return InvocationFailed(where, received, "a report")
    return None


def describe(body: bytes) -> tuple[str, str]:
    """`errorType` and `errorMessage` of a runtime's report, shortened; the raw text where it is no such JSON."""
    try:
        report: Any = json.loads(body)
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict):
        return "Error", body[:MAX_MESSAGE_CHARACTERS].decode(errors="replace")
    name, message = (str(report.get(key) or "") for key in ("errorType", "errorMessage"))
    return name or "Error", message[:MAX_MESSAGE_CHARACTERS]


def parse_printed(message: str, name: str = "") -> LambdafitError | None:
    """The numbered error that prints as `message`, or whose class is called `name`; else None."""
    match = PRINTED.match(message)
    for kind in all_errors():
        if match and (kind.number, kind.__name__) == (match["number"], match["name"]):
            text, _, advice = match["rest"].rpartition("\n")
            if not text:
                text, advice = match["rest"], kind.advice
            elif match["rest"].endswith("\n" + kind.advice):
                text, advice = match["rest"].removesuffix("\n" + kind.advice), kind.advice
            return error_from_record(_record(kind, text, advice))
        if not match and kind.__name__ == name:
            return error_from_record(_record(kind, message, kind.advice))
    return None


def _record(kind: type[LambdafitError], message: str, advice: str) -> ErrorRecord:
    return ErrorRecord(
        number=kind.number,
        name=kind.__name__,
        message=message,
        advice=advice,
        retryable=kind.retryable,
        exit_code=kind.exit_code,
    )
