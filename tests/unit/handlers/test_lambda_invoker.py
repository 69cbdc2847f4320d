"""Functions are invoked many at once; each refusal is numbered, and says whether the same again may help."""

from __future__ import annotations

import io
import json
import threading
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError, NoCredentialsError, ReadTimeoutError
from handler_helpers import refused

from contracts.errors import (
    EnvironmentFailed,
    InvalidImage,
    InvocationFailed,
    LambdafitError,
    OutOfMemory,
    TaskFailed,
    TimedOut,
)
from contracts.stack_errors import (
    AwsRefused,
    CredentialsMissing,
    EventTooLarge,
    FunctionNotFound,
    InvokeForbidden,
    MountFailed,
)
from handlers.lambda_invoker import THREADS, LambdaInvoker

NAMES = {"train": "lambdafit-train", "predict": "lambdafit-predict"}


class Lambda:
    """Lambda's client: remembers invocations, and answers or refuses as it was told."""

    def __init__(self, error: Exception | None = None, answer: Any = None, failure: str = "") -> None:
        self.requests: list[dict[str, Any]] = []
        self._error, self._answer, self._failure = error, answer, failure

    def invoke(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        if self._error is not None:
            raise self._error
        body = io.BytesIO(json.dumps(self._answer).encode())
        return {"StatusCode": 202, "Payload": body} | ({"FunctionError": self._failure} if self._failure else {})


def test_an_event_goes_to_the_function_of_that_name_and_nobody_waits() -> None:
    client = Lambda()
    LambdaInvoker(NAMES, client).invoke("train", {"run_id": "r-7f00", "workerno": 3})
    assert client.requests == [
        {
            "FunctionName": "lambdafit-train",
            "InvocationType": "Event",
            "Payload": b'{"run_id":"r-7f00","workerno":3}',
        }
    ]


@pytest.mark.parametrize(
    ("error", "expected", "retryable"),
    [
        (refused("TooManyRequestsException", 429, "Rate Exceeded."), InvocationFailed, True),
        (refused("ServiceException", 500), InvocationFailed, True),
        (refused("EC2ThrottledException", 502), InvocationFailed, True),
        (refused("ResourceConflictException", 409), InvocationFailed, True),
        (refused("EFSMountTimeoutException", 408), MountFailed, True),
        (refused("EFSIOException", 410), MountFailed, True),
        (ConnectTimeoutError(endpoint_url="https://lambda"), InvocationFailed, True),
        (ReadTimeoutError(endpoint_url="https://lambda"), InvocationFailed, True),
        (refused("ResourceNotFoundException", 404), FunctionNotFound, False),
        (refused("AccessDeniedException", 403), InvokeForbidden, False),
        (refused("ExpiredTokenException", 403), InvokeForbidden, False),
        (refused("RequestTooLargeException", 413), EventTooLarge, False),
        (refused("InvalidParameterValueException", 400), AwsRefused, False),
        (NoCredentialsError(), CredentialsMissing, False),
    ],
)
def test_refusals_are_numbered(error: Exception, expected: type[LambdafitError], retryable: bool) -> None:
    with pytest.raises(expected) as raised:
        LambdaInvoker(NAMES, Lambda(error)).invoke("train", {})
    assert "lambdafit-train" in str(raised.value)
    assert raised.value.retryable is retryable


def test_an_event_over_the_limit_is_refused_before_it_is_sent() -> None:
    client = Lambda()
    with pytest.raises(EventTooLarge, match="E425"):
        LambdaInvoker(NAMES, client).invoke("train", {"x": "y" * 1_000_001})
    assert client.requests == []


def test_many_go_out_side_by_side_and_answer_in_order() -> None:
    together = threading.Barrier(THREADS, timeout=20)

    class Crowded:
        def invoke(self, **request: Any) -> dict[str, Any]:
            together.wait()  # breaks where fewer than THREADS are on their way at once
            if json.loads(request["Payload"])["workerno"] % 2:
                raise refused("TooManyRequestsException", 429)
            return {}

    calls = [("train", {"workerno": index}) for index in range(2 * THREADS)]
    errors = LambdaInvoker(NAMES, Crowded()).invoke_all(calls)
    assert [error is not None for error in errors] == [bool(index % 2) for index in range(2 * THREADS)]
    assert {error.number for error in errors if error is not None} == {"E401"}


def test_none_and_one_need_no_thread() -> None:
    invoker = LambdaInvoker(NAMES, Lambda())
    assert invoker.invoke_all([]) == []
    assert invoker.invoke_all([("train", {})]) == [None]
    assert [type(error) for error in invoker.invoke_all([("unknown", {})])] == [FunctionNotFound]


def test_a_call_waits_for_the_answer() -> None:
    client = Lambda(answer={"predictions": []})
    assert LambdaInvoker(NAMES, client).call("predict", {"run_id": "latest"}) == {"predictions": []}
    assert client.requests[0]["InvocationType"] == "RequestResponse"


TIME_OUT = "RequestId: 1 Error: Task timed out after 3.00 seconds"
EXIT = "RequestId: 1 Error: Runtime exited with error: "


@pytest.mark.parametrize(
    ("kind", "said", "expected"),
    [
        ("InvalidImage", "E107 InvalidImage: a.png: no picture.\nGive one.", InvalidImage),
        ("Sandbox.Timedout", TIME_OUT, TimedOut),
        ("", "2026-10-01T12:00:00Z 1234 Task timed out after 900.00 seconds", TimedOut),
        ("Runtime.OutOfMemory", "RequestId: 1 Error: Runtime exited", OutOfMemory),
        ("Runtime.ExitError", EXIT + "signal: killed", OutOfMemory),
        ("Runtime.ExitError", EXIT + "exit status 137", OutOfMemory),
        ("Runtime.ExitError", EXIT + "exit status 1", InvocationFailed),
        ("Runtime.ImportModuleError", "Unable to import module 'handlers.train'", EnvironmentFailed),
        ("EFSMountConnectivityException", "no route", MountFailed),
        ("ValueError", "Task timed out after 3.00 seconds", TaskFailed),
    ],
)
def test_a_function_that_failed_says_why(kind: str, said: str, expected: type[LambdafitError]) -> None:
    client = Lambda(answer={"errorType": kind, "errorMessage": said}, failure="Unhandled")
    with pytest.raises(expected):
        LambdaInvoker(NAMES, client).call("predict", {})
