"""What is asked of the engine and what came of it: functions, waiting invocations, ended ones."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from contracts.errors import ErrorRecord, InvalidSetting, InvocationFailed, LambdafitError, TaskFailed
from contracts.function_errors import error_in_answer

MAX_PAYLOAD_BYTES = 6_291_556
"""Lambda's limit for events and results of synchronous invocations."""

# A function's name becomes part of a file name and of a header.
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Function:
    """One function, as `template.yaml` would describe it.

    Args:
        name: letters, digits, `-` and `_`; log files are named by it.
        handler: `package.module.function`.
        concurrency: the most environments at a time.
        time_limit_s: an invocation that takes longer is killed. INIT is not counted.
        memory_mb: the most resident memory of an environment's whole process group, in MiB.
        environment: extra variables, over the engine's own.
        init_limit_s: an environment that is not ready by then is killed.
    """

    name: str
    handler: str
    concurrency: int
    time_limit_s: float
    memory_mb: int
    environment: Mapping[str, str] = field(default_factory=dict)
    init_limit_s: float = 120.0

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise InvalidSetting("function", repr(self.name), "1 to 64 letters, digits, - and _")
        if self.concurrency < 1:
            raise InvalidSetting(f"function {self.name!r}", f"concurrency {self.concurrency}", "1 or more")


@dataclass(frozen=True)
class Invocation:
    """One ended invocation.

    `queued_at`, `started_at` and `ended_at` are seconds since 1970; `started_at` is 0.0 where no environment
    ever took it. `cold` says that it had to wait for its environment to start, which took `init_s` seconds.
    `log_stream` names the environment and its log file (without `.log`). `result` is what the handler
    returned; `error` is set just where `outcome` is "failed".
    """

    function: str
    event: Mapping[str, Any]
    request_id: str
    queued_at: float
    started_at: float
    ended_at: float
    init_s: float
    cold: bool
    outcome: Literal["returned", "failed"]
    result: Any
    error: ErrorRecord | None
    peak_memory_bytes: int
    log_stream: str


@dataclass(eq=False)
class Pending:
    """An invocation on its way. Only the scheduler's thread changes it, until it has ended.

    `waiter` is set for a synchronous call. Exactly one of `answer` and `error` is set at the end; `raised`
    says that `answer` is an error's description and not a result.
    """

    function: Function
    event: Mapping[str, Any]
    payload: bytes
    affinity: str = ""
    waiter: threading.Event | None = None
    request_id: str = ""
    queued_at: float = 0.0
    queued_monotonic_s: float = 0.0
    start_failures: int = 0
    started_at: float = 0.0
    ended_at: float = 0.0
    init_s: float = 0.0
    cold: bool = False
    answer: bytes | None = None
    raised: bool = False
    error: LambdafitError | None = None
    peak_memory_bytes: int = 0
    log_stream: str = ""

    @property
    def answered(self) -> bool:
        """Whether its outcome is fixed."""
        return self.answer is not None or self.error is not None

    def settle(self, error: LambdafitError | None = None) -> None:
        """Note the end, and the error where nothing else was known before."""
        if error is not None and not self.answered:
            self.error = error
        self.ended_at = self.ended_at or time.time()


def make_pending(
    function: Function, event: Mapping[str, Any], affinity: str, waiter: threading.Event | None
) -> Pending:
    """An invocation, ready to be queued.

    Raises:
        InvocationFailed: the event is no JSON, or too large.
    """
    where = f"function {function.name!r}"
    try:
        payload = json.dumps(event).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvocationFailed(where, f"the event is no JSON: {error}") from error
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise InvocationFailed(where, f"an event of {len(payload)} bytes", f"at most {MAX_PAYLOAD_BYTES}")
    return Pending(
        function=function,
        event=event,
        payload=payload,
        affinity=affinity,
        waiter=waiter,
        request_id=random_uuid(),
        queued_at=time.time(),
        queued_monotonic_s=time.monotonic(),
    )


def to_invocation(pending: Pending) -> Invocation:
    """What is told about an ended invocation. Parses the answer, so call it off the scheduler's thread."""
    result, error = None, pending.error
    if pending.answer is not None and pending.raised:
        error = error_in_answer(pending.answer, pending.function.name)
    elif pending.answer is not None:
        try:
            result = json.loads(pending.answer) if pending.answer else None
        except (ValueError, RecursionError) as problem:
            error = TaskFailed(f"function {pending.function.name!r}", f"its result is no JSON: {problem}")
    return Invocation(
        function=pending.function.name,
        event=pending.event,
        request_id=pending.request_id,
        queued_at=pending.queued_at,
        started_at=pending.started_at,
        ended_at=pending.ended_at,
        init_s=pending.init_s,
        cold=pending.cold,
        outcome="returned" if error is None else "failed",
        result=result,
        error=None if error is None else error.record(),
        peak_memory_bytes=pending.peak_memory_bytes,
        log_stream=pending.log_stream,
    )


def random_uuid() -> str:
    """A random UUID in Lambda's form; the module `uuid` is not worth its import time here."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
