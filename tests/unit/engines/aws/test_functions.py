"""Functions that are called and woken: what they answer, what they fail of, and what passes by itself."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import boto3
import msgspec
import pytest
from botocore.stub import ANY, Stubber

from contracts.errors import (
    EnvironmentFailed,
    LambdafitError,
    OutOfMemory,
    RecipeFailed,
    ShapeMismatch,
    TaskFailed,
    TimedOut,
)
from contracts.stack_errors import (
    AccessDenied,
    AwsUnreachable,
    FunctionNotFound,
    FunctionNotReady,
    FunctionThrottled,
    LibrariesMissing,
    MountFailed,
    StackDamaged,
    StackVersionDiffers,
)
from engines.aws import AwsEngine
from engines.aws_stack.functions import BETWEEN_TRIES_S, Functions
from fakes.deployed_stack import DeployedStack, client_error
from runs.code_version import code_version


class Stubbed:
    """A real client of Lambda whose answers a test lays down, and a clock that does not wait."""

    def __init__(self) -> None:
        self.client = boto3.client("lambda", region_name="us-east-1")
        self.stubber = Stubber(self.client)
        self.stubber.activate()
        self.slept: list[float] = []
        self.functions = Functions(
            self.client, {"train": "x-train"}, "stack x", sleep=self.slept.append, now=lambda: sum(self.slept)
        )

    def answers(self, body: Any, **more: Any) -> None:
        payload = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        expected = {"FunctionName": "x-train", "Payload": ANY}
        self.stubber.add_response("invoke", {"StatusCode": 200, "Payload": payload, **more}, expected)

    def refuses(self, code: str, status: int = 400) -> None:
        self.stubber.add_client_error("invoke", code, "so it is", status)


@pytest.fixture
def stubbed() -> Stubbed:
    return Stubbed()


def test_an_answer_is_the_functions_own(stubbed: Stubbed) -> None:
    stubbed.answers({"a": 1})
    assert stubbed.functions.call("train", {"x": 1}) == {"a": 1}


def test_an_error_in_the_answer_is_raised_as_if_it_had_happened_here(stubbed: Stubbed) -> None:
    record = ShapeMismatch("run r-1", "(2,)", "(3,)", advice="Look.").record()
    stubbed.answers({"error": msgspec.to_builtins(record)})
    with pytest.raises(ShapeMismatch, match="run r-1: ") as caught:
        stubbed.functions.call("train", {})
    assert caught.value.record() == record


def test_an_answer_that_has_an_error_among_others_is_an_answer(stubbed: Stubbed) -> None:
    stubbed.answers({"run_id": "r-1", "error": {"number": "E201"}})
    assert stubbed.functions.call("train", {})["run_id"] == "r-1"


@pytest.mark.parametrize(
    ("kind", "message", "error"),
    [
        ("RecipeFailed", str(RecipeFailed("mine.py:3", "it raised")), RecipeFailed),
        ("ValueError", "bad value", TaskFailed),
        ("Sandbox.Timedout", "RequestId: 1 Error: Task timed out after 900.00 seconds", TimedOut),
        ("", "2026-11-21 Task timed out after 900.00 seconds", TimedOut),
        ("Runtime.ExitError", "RequestId: 1 Error: Runtime exited with error: signal: killed", OutOfMemory),
        ("Runtime.ImportModuleError", "No module named 'x'", EnvironmentFailed),
    ],
)
def test_what_a_function_fails_of(stubbed: Stubbed, kind: str, message: str, error: type[LambdafitError]) -> None:
    stubbed.answers({"errorType": kind, "errorMessage": message}, FunctionError="Unhandled")
    with pytest.raises(error):
        stubbed.functions.call("train", {})


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("TooManyRequestsException", FunctionThrottled),
        ("EFSMountTimeoutException", MountFailed),
        ("EFSMountConnectivityException", MountFailed),
        ("EFSIOException", MountFailed),
        ("ResourceNotReadyException", FunctionNotReady),
        ("ResourceConflictException", FunctionNotReady),
    ],
)
def test_what_passes_is_waited_for(stubbed: Stubbed, code: str, error: type[LambdafitError]) -> None:
    told: list[LambdafitError] = []
    stubbed.refuses(code)
    stubbed.refuses(code)
    stubbed.answers("done")
    assert stubbed.functions.call("train", {}, patience_s=20, tell=told.append) == "done"
    assert stubbed.slept == [BETWEEN_TRIES_S] * 2
    assert [type(one) for one in told] == [error, error]


def test_patience_ends(stubbed: Stubbed) -> None:
    for _ in range(3):
        stubbed.refuses("TooManyRequestsException", 429)
    with pytest.raises(FunctionThrottled, match="TooManyRequestsException on Invoke: so it is"):
        stubbed.functions.call("train", {}, patience_s=11)
    assert len(stubbed.slept) == 2


@pytest.mark.parametrize(("code", "error"), [
    ("ResourceNotFoundException", FunctionNotFound),
    ("AccessDeniedException", AccessDenied),
])  # fmt: skip
def test_what_does_not_pass_is_not_waited_for(stubbed: Stubbed, code: str, error: type[LambdafitError]) -> None:
    stubbed.refuses(code)
    with pytest.raises(error):
        stubbed.functions.call("train", {}, patience_s=100)
    assert stubbed.slept == []


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_lost_connection_is_tried_again_only_where_twice_does_no_harm(stubbed: Stubbed, repeatable: bool) -> None:
    stubbed.refuses("ServiceException", 500)
    if repeatable:
        stubbed.answers("done")
        assert stubbed.functions.call("train", {}, repeatable=True) == "done"
    else:
        with pytest.raises(AwsUnreachable):
            stubbed.functions.call("train", {})


# --- woken -------------------------------------------------------------------------------------------------


def nobody(_function: str, _error: LambdafitError) -> None:
    raise AssertionError("every function answers at once")


def test_functions_are_woken_side_by_side_until_each_answers(engine: AwsEngine, stack: DeployedStack) -> None:
    stack.lambda_.refusals = {
        "train": [client_error("ResourceNotReadyException")] * 3,
        "prepare": [client_error("EFSMountTimeoutException")],
    }
    told: list[tuple[str, str]] = []
    engine.wake(lambda function, error: told.append((function, error.number)))
    assert sorted(told) == [("prepare", "E440"), *[("train", "E441")] * 3]
    assert sorted(function for function, _ in stack.lambda_.invoked) == ["combine", *["prepare"] * 2, *["train"] * 4]


def test_a_function_that_stays_away_is_an_error(engine: AwsEngine, stack: DeployedStack) -> None:
    stack.lambda_.refusals = {"combine": [client_error("ResourceNotReadyException")] * 1000}
    with pytest.raises(FunctionNotReady, match="function combine"):
        engine.wake(lambda *_: None)


def test_a_function_with_other_arithmetic_is_found(engine: AwsEngine, stack: DeployedStack) -> None:
    stack.lambda_.functions["train"] = lambda _: {"probe": True, "code_version": "0.1.0+other"}
    with pytest.raises(StackVersionDiffers, match=r"function train: its code is 0\.1\.0\+other"):
        engine.wake(nobody)


def test_a_file_system_that_cannot_be_written_is_found(engine: AwsEngine, stack: DeployedStack) -> None:
    def full(_event: Mapping[str, Any]) -> dict[str, Any]:
        return {"probe": True, "code_version": code_version(), "shared_writable": False, "problem": "read-only"}

    stack.lambda_.functions["combine"] = full
    with pytest.raises(MountFailed, match=r"function combine: it cannot write .*read-only"):
        engine.wake(nobody)


def test_something_else_than_our_function_is_found(engine: AwsEngine, stack: DeployedStack) -> None:
    stack.lambda_.functions["prepare"] = lambda _: "hello"
    with pytest.raises(StackDamaged, match="it answers a probe with 'hello'"):
        engine.wake(nobody)


def test_libraries_that_are_not_there(engine: AwsEngine, stack: DeployedStack) -> None:
    engine.check_libraries()
    stack.s3.delete_object(Bucket=stack.bucket, Key="libraries/aa.tar.zst")
    with pytest.raises(LibrariesMissing, match="names no archive"):
        engine.check_libraries()
    stack.s3.delete_object(Bucket=stack.bucket, Key="libraries/current.json")
    with pytest.raises(LibrariesMissing):
        engine.check_libraries()
