"""The Lambda service: synchronous and asynchronous invocations, throttling, retries, on-failure destinations."""

from __future__ import annotations

import collections
import heapq
import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from engines.local_lambda.invocation import Pending, random_uuid
from rehearsal.environments import Environments, answer_of
from rehearsal.stack_model import FunctionModel

MAX_SYNCHRONOUS_BYTES = 6 * 2**20
MAX_ASYNCHRONOUS_BYTES = 2**20
RETRIES_AFTER_ERRORS_S = (60.0, 120.0)
RETRIES_AFTER_THROTTLES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0)
SendMessage = Callable[[str, Mapping[str, Any]], None]


class Refused(Exception):
    """An invocation that the API does not take. `status` and `code` are those of the API's answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(order=True)
class _Event:
    """An asynchronous event on its way."""

    due_at: float
    number: int
    function: FunctionModel = field(compare=False)
    payload: Mapping[str, Any] = field(compare=False)
    queued_at: float = field(compare=False)
    request_id: str = field(default_factory=random_uuid, compare=False)
    invocations: int = field(default=0, compare=False)
    throttles: int = field(default=0, compare=False)


class FunctionService:
    """Invokes functions as Lambda does.

    Args:
        functions: by name.
        environments: made by the caller, whose `told` must be `ended`.
        send_message: queue's ARN and body, for destinations.
        speed: Lambda's waits before a retry are divided by this; ages and limits are not.
        function_arn: name → ARN.
    """

    def __init__(
        self,
        functions: Mapping[str, FunctionModel],
        send_message: SendMessage,
        function_arn: Callable[[str], str],
        *,
        speed: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.functions = dict(functions)
        self.invocations: collections.Counter[str] = collections.Counter()
        self.function_arn = function_arn
        self._environments: Environments | None = None
        self._send_message, self._speed, self._clock = send_message, speed, clock
        self._reserved = {name: one.reserved for name, one in functions.items()}
        self._refusals: collections.Counter[str] = collections.Counter()
        self._changed = threading.Condition()
        self._waiting: list[_Event] = []
        self._running: dict[str, _Event] = {}
        self._numbers = itertools.count()
        self._stopping = False
        self._thread = threading.Thread(target=self._deliver, name="lambda-async", daemon=True)

    def begin(self, environments: Environments) -> None:
        """Start to deliver asynchronous events."""
        self._environments = environments
        self._thread.start()

    def stop(self) -> None:
        """Deliver nothing more."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident:
            self._thread.join(10)

    # --- for tests ------------------------------------------------------------------------------------------

    def reserve(self, name: str, concurrency: int | None) -> None:
        """Reserved concurrency, as `PutFunctionConcurrency`; None takes it away."""
        with self._changed:
            self._reserved[name] = concurrency
            self._changed.notify_all()

    def reserved(self, name: str) -> int | None:
        """Reserved concurrency, if any."""
        return self._reserved[name]

    def in_use(self, name_or_arn: str) -> int:
        """Invocations that run or wait."""
        return self._pool.in_use(self.known(name_or_arn).name)

    def refuse(self, name: str, times: int) -> None:
        """Have the API answer 429 so many times."""
        self._refusals[name] += times

    def forgive(self) -> None:
        """No more refusals, and no reserved concurrency but the template's."""
        with self._changed:
            self._refusals.clear()
            self._reserved = {name: one.reserved for name, one in self.functions.items()}

    def refusals_left(self, name: str) -> int:
        """How many refusals are still to come."""
        return self._refusals[name]

    # --- what the API does ----------------------------------------------------------------------------------

    def known(self, name_or_arn: str) -> FunctionModel:
        """A function by name, ARN or partial ARN, with or without `:$LATEST`.

        Raises:
            Refused: 404.
        """
        name = name_or_arn.removesuffix(":$LATEST").rpartition(":")[2]
        if name not in self.functions:
            message = f"Function not found: {self.function_arn(name)}"
            raise Refused(404, "ResourceNotFoundException", message)
        return self.functions[name]

    def invoke(self, name_or_arn: str, body: bytes) -> tuple[bytes, bool]:
        """A synchronous invocation: the answer, and whether the function failed.

        Raises:
            Refused: the API does not take it.
        """
        function = self.known(name_or_arn)
        event = self._parsed(body, MAX_SYNCHRONOUS_BYTES)
        self._refuse_if_asked_to(function.name)
        reserved = self._reserved[function.name]
        if reserved is not None and self._pool.in_use(function.name) >= reserved:
            raise Refused(429, "TooManyRequestsException", "Rate Exceeded.")
        with self._changed:
            self.invocations[function.logical_id] += 1
        answer, failed = answer_of(self._pool.wait(function.name, event))
        if len(answer) > MAX_SYNCHRONOUS_BYTES:
            text = f"Response payload size exceeded maximum allowed payload size ({MAX_SYNCHRONOUS_BYTES} bytes)."
            return json.dumps({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": text}).encode(), True
        return answer, failed

    def send(self, name_or_arn: str, body: bytes) -> str:
        """An asynchronous invocation: queued. Returns its request id.

        Raises:
            Refused: the API does not take it.
        """
        function = self.known(name_or_arn)
        payload = self._parsed(body, MAX_ASYNCHRONOUS_BYTES)
        self._refuse_if_asked_to(function.name)
        now = self._clock()
        event = _Event(now, next(self._numbers), function, payload, now)
        with self._changed:
            heapq.heappush(self._waiting, event)
            self._changed.notify_all()
        return event.request_id

    def _refuse_if_asked_to(self, name: str) -> None:
        with self._changed:
            if self._refusals[name]:
                self._refusals[name] -= 1
                self._changed.notify_all()
                raise Refused(429, "TooManyRequestsException", "Rate Exceeded.")

    def _parsed(self, body: bytes, limit_bytes: int) -> Any:
        if len(body) > limit_bytes:
            text = f"{len(body)} byte payload is too large for the invocation (limit {limit_bytes} bytes)"
            raise Refused(413, "RequestTooLargeException", text)
        try:
            return json.loads(body) if body else {}
        except ValueError as error:
            text = f"Could not parse request body into json: {error}"
            raise Refused(400, "InvalidRequestContentException", text) from None

    # --- asynchronous events --------------------------------------------------------------------------------

    @property
    def _pool(self) -> Environments:
        assert self._environments is not None
        return self._environments

    def _deliver(self) -> None:
        while True:
            with self._changed:
                while not self._stopping and (not self._waiting or self._waiting[0].due_at > self._clock()):
                    wait_s = self._waiting[0].due_at - self._clock() if self._waiting else None
                    self._changed.wait(wait_s)
                if self._stopping:
                    return
                event = heapq.heappop(self._waiting)
            self._deliver_one(event)

    def _deliver_one(self, event: _Event) -> None:
        name = event.function.name
        reserved = self._reserved[name]
        if reserved == 0 or self._clock() - event.queued_at > event.function.max_age_s:
            # With a reserved concurrency of 0 Lambda does not even try.
            self._give_up(event, "EventAgeExceeded", None)
            return
        if reserved is not None and self._pool.in_use(name) >= reserved:
            wait_s = RETRIES_AFTER_THROTTLES_S[min(event.throttles, len(RETRIES_AFTER_THROTTLES_S) - 1)]
            self._again(replace(event, throttles=event.throttles + 1), wait_s)
            return
        event.invocations += 1
        with self._changed:
            self.invocations[event.function.logical_id] += 1
            self._running[event.request_id] = event
        payload = event.payload
        self._pool.start(name, payload, f"{payload.get('run_id')}/{payload.get('workerno', '')}", event.request_id)

    def ended(self, pending: Pending) -> None:
        """An asynchronous invocation is over."""
        with self._changed:
            event = self._running.pop(pending.request_id, None)
            stopping = self._stopping
        answer, failed = answer_of(pending)
        if event is None or not failed or stopping:
            return
        if event.invocations <= event.function.retries:
            self._again(event, RETRIES_AFTER_ERRORS_S[event.invocations - 1])
        else:
            self._give_up(event, "RetriesExhausted", answer)

    def _again(self, event: _Event, wait_s: float) -> None:
        event.due_at = self._clock() + wait_s / self._speed
        with self._changed:
            heapq.heappush(self._waiting, event)
            self._changed.notify_all()

    def _give_up(self, event: _Event, condition: str, answer: bytes | None) -> None:
        if not event.function.failure_queue:
            return
        record: dict[str, Any] = {
            "version": "1.0",
            "timestamp": timestamp(self._clock()),
            "requestContext": {
                "requestId": event.request_id,
                "functionArn": f"{self.function_arn(event.function.name)}:$LATEST",
                "condition": condition,
                "approximateInvokeCount": event.invocations,
            },
            "requestPayload": event.payload,
        }
        if answer is not None:
            record["responseContext"] = {
                "statusCode": 200,
                "executedVersion": "$LATEST",
                "functionError": "Unhandled",
            }
            record["responsePayload"] = json.loads(answer)
        self._send_message(event.function.failure_queue, record)


def timestamp(seconds: float) -> str:
    """As AWS writes it: 2026-11-14T18:16:05.568Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
