"""Starts functions through Lambda's Invoke API: many at once, and every refusal as a numbered error."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from contracts.errors import InvocationFailed, LambdafitError
from contracts.function_errors import error_in_answer
from contracts.messages import warm_up_event
from contracts.stack_errors import (
    AwsRefused,
    CredentialsMissing,
    EventTooLarge,
    FunctionNotFound,
    InvokeForbidden,
    MountFailed,
)

logger = logging.getLogger(__name__)

THREADS = 32
"""256 invocations take 8 to 15 s one after the other, 2 s so."""

MAX_ASYNC_BYTES = 1_000_000
MAX_SYNC_BYTES = 6_000_000

FORBIDDEN = frozenset(
    {
        "AccessDeniedException",
        "AccessDenied",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "ExpiredTokenException",
        "MissingAuthenticationTokenException",
        "IncompleteSignatureException",
    }
)
TOO_LARGE = frozenset({"RequestTooLargeException", "RequestEntityTooLargeException"})
FOR_NOW = frozenset({"TooManyRequestsException", "ResourceConflictException", "ResourceNotReadyException"})


class LambdaInvoker:
    """Implements `contracts.ports.Invoker`.

    Args:
        functions: name or ARN of each function, by the name that the use cases know.
        client: of boto3, for "lambda".
    """

    def __init__(self, functions: Mapping[str, str], client: Any) -> None:
        self._functions = functions
        self._client = client

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        """See `Invoker.invoke`.

        Raises:
            InvocationFailed: throttled, or Lambda had a failure of its own: the same again may help.
            FunctionNotFound, InvokeForbidden, EventTooLarge, AwsRefused: nothing helps but mending the cause.
        """
        name = self._name(function)
        payload = _payload(name, event, MAX_ASYNC_BYTES)
        try:
            self._client.invoke(FunctionName=name, InvocationType="Event", Payload=payload)
        except (ClientError, BotoCoreError) as error:
            raise refusal(name, error) from error

    def invoke_all(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[LambdafitError | None]:
        """See `Invoker.invoke_all`."""
        if len(calls) < 2:
            return [self._tried(call) for call in calls]
        return list(self._pool.map(self._tried, calls))

    def warm_up(self, run_id: str, environments: int) -> None:
        """See `Invoker.warm_up`. Lambda gives each of several invocations at once an environment of its own."""
        refusals = self.invoke_all([("train", warm_up_event(run_id))] * environments)
        if any(refusals):
            logger.warning("%d of %d warm-ups of %s refused", sum(map(bool, refusals)), environments, run_id)

    def call(self, function: str, event: Mapping[str, Any]) -> Any:
        """Invoke a function and wait for its answer.

        Raises:
            LambdafitError: what the function raised, or why it could not be asked.
        """
        name = self._name(function)
        payload = _payload(name, event, MAX_SYNC_BYTES)
        try:
            answer = self._client.invoke(FunctionName=name, InvocationType="RequestResponse", Payload=payload)
            body: bytes = answer["Payload"].read()
        except (ClientError, BotoCoreError) as error:
            raise refusal(name, error) from error
        if answer.get("FunctionError"):
            raise error_in_answer(body, name)
        return json.loads(body)

    def _name(self, function: str) -> str:
        name = self._functions.get(function, "")
        if not name:
            variable = f"LAMBDAFIT_{function.upper()}_FUNCTION"
            raise FunctionNotFound(f"function {function!r}", f"{variable} is not set", "a function's name")
        return name

    def _tried(self, call: tuple[str, Mapping[str, Any]]) -> LambdafitError | None:
        try:
            self.invoke(*call)
        except LambdafitError as error:
            return error
        return None

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(THREADS, thread_name_prefix="invoke")


def refusal(name: str, error: ClientError | BotoCoreError) -> LambdafitError:
    """Why Lambda, or the way to it, refused an invocation."""
    where = f"function {name}"
    if isinstance(error, NoCredentialsError):
        return CredentialsMissing(where, "no AWS credentials were found", "some")
    if not isinstance(error, ClientError):
        # Its name alone: the message of a connection error may quote the whole request.
        return InvocationFailed(where, f"Lambda could not be reached ({type(error).__name__})", "an answer")
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = str(error.response.get("Error", {}).get("Message", ""))
    received = f"{code}: {said}" if said else code
    if code == "ResourceNotFoundException":
        return FunctionNotFound(where, "Lambda knows no such function", "one")
    if code in FORBIDDEN:
        return InvokeForbidden(where, received)
    if code in TOO_LARGE or status == 413:
        return EventTooLarge(where, received)
    if code.startswith("EFS"):
        return MountFailed(where, received)
    if code in FOR_NOW or status in (408, 429) or status >= 500:
        return InvocationFailed(where, received, advice=_PATIENCE)
    return AwsRefused(where, received)


_PATIENCE = "It is sent again. Where it stays so: fewer --workers, or a larger quota of concurrent executions."


def _payload(name: str, event: Mapping[str, Any], most_bytes: int) -> bytes:
    payload = json.dumps(event, separators=(",", ":")).encode()
    if len(payload) > most_bytes:
        raise EventTooLarge(f"function {name}", f"an event of {len(payload):,} bytes", f"at most {most_bytes:,}")
    return payload
