"""The local engine's environments, with the answers as a runtime gives them: Lambda's API passes those on unread."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.errors import EnvironmentFailed, TimedOut
from engines.local_lambda.environment import State
from engines.local_lambda.invocation import Function, Pending, make_pending
from engines.local_lambda.pool import LocalLambda

SECONDS_TO_ANSWER = 1_000.0


class Environments(LocalLambda):
    """Runs functions in processes.

    Args:
        told: gets each ended asynchronous invocation, on one thread.
    """

    def __init__(
        self,
        functions: Sequence[Function],
        *,
        log_folder: Path,
        environment: Mapping[str, str],
        told: Callable[[Pending], None],
    ) -> None:
        self._told = told
        super().__init__(functions, log_folder=log_folder, environment=environment, on_ended=lambda _: None)

    def start(self, function: str, event: Mapping[str, Any], affinity: str, request_id: str) -> None:
        """Queue an asynchronous invocation under a request id: a retry has that of the first try."""
        pending = make_pending(self._function(function), event, affinity, None)
        pending.request_id = request_id
        self._submit(pending)

    def wait(self, function: str, event: Mapping[str, Any]) -> Pending:
        """Invoke and wait for the end."""
        done = threading.Event()
        pending = make_pending(self._function(function), event, "", done)
        self._submit(pending)
        if not done.wait(SECONDS_TO_ANSWER):
            raise TimedOut(f"function {function!r}", f"no answer within {SECONDS_TO_ANSWER:g} s")
        return pending

    def in_use(self, function: str) -> int:
        """Invocations that run or wait for an environment: what counts towards concurrency."""
        fleet = self._scheduler.fleets[function]
        return len(fleet.queue) + sum(one.pending is not None for one in list(fleet.live))

    def working_pids(self, function: str) -> dict[int, Mapping[str, Any]]:
        """Process and event of each environment that is at work."""
        live = list(self._scheduler.fleets[function].live)
        return {one.pid: one.pending.event for one in live if one.state is State.BUSY and one.pending is not None}

    def pids(self) -> list[int]:
        """All processes."""
        return [one.pid for fleet in self._scheduler.fleets.values() for one in list(fleet.live)]

    def _tell(self) -> None:
        while (pending := self._ended.get()) is not None:
            self._told(pending)


def answer_of(pending: Pending) -> tuple[bytes, bool]:
    """The payload that Lambda answers with, and whether the function failed (`X-Amz-Function-Error`)."""
    if pending.answer is not None:
        return pending.answer, pending.raised
    error = pending.error
    if error is None:
        return b"null", False
    request = f"RequestId: {pending.request_id}"
    if isinstance(error, TimedOut):
        kind, text = "Sandbox.Timedout", f"Error: Task timed out after {pending.function.time_limit_s:.2f} seconds"
    elif "too large" in error.message:
        kind, text = (
            "Function.ResponseSizeTooLarge",
            "Error: Response payload size exceeded maximum allowed payload size",
        )
    else:
        exits = re.search(r"(?:exit code|signal) (\w+)", str(error))
        kind, text = "Runtime.ExitError", "Error: Runtime exited without providing a reason"
        if exits and not isinstance(error, EnvironmentFailed):
            text = f"Error: Runtime exited with error: {'exit status' if exits[1].isdigit() else 'signal:'} {exits[1]}"
    return json.dumps({"errorType": kind, "errorMessage": f"{request} {text}"}).encode(), True
