"""Which stack is worked with, and every way in which there is none."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import (
    EndpointConnectionError,
    NoCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    TokenRetrievalError,
)

from contracts.errors import LambdafitError
from contracts.stack_errors import (
    AccessDenied,
    AwsRefused,
    AwsUnreachable,
    CredentialsMissing,
    FunctionNotReady,
    FunctionThrottled,
    MountFailed,
    RegionMissing,
    StackNotFound,
    StackNotReady,
    StackVersionDiffers,
)
from engines.aws_stack.account import Account, aws_errors, numbered
from engines.aws_stack.stack import Stack, newest_deleted
from fakes.deployed_stack import NAME, OUTPUTS, REGION, DeployedStack, FakeLambda, client_error


def test_a_stack_is_what_its_outputs_say(stack: DeployedStack) -> None:
    found = Stack.find(Account(), NAME)
    assert (found.table, found.bucket, found.region) == ("lambdafit-table", "lambdafit-bucket", REGION)
    assert found.functions["start"] == "lambdafit-start"
    assert (found.memory_mb, found.time_limit_s, found.workers_ceiling) == (3008, 900.0, 16)


def test_no_stack_of_that_name(stack: DeployedStack) -> None:
    with pytest.raises(StackNotFound, match="stack other in us-east-1: there is none"):
        Stack.find(Account(), "other")


def test_a_stack_in_another_region_is_not_found(stack: DeployedStack) -> None:
    with pytest.raises(StackNotFound, match="stack lambdafit in eu-west-1"):
        Stack.find(Account("eu-west-1"), NAME)


def test_a_deleted_stack_is_not_found_but_remembered(stack: DeployedStack) -> None:
    stack.cloudformation.delete_stack(StackName=NAME)
    with pytest.raises(StackNotFound):
        Stack.find(Account(), NAME)
    remembered = newest_deleted(Account(), NAME)
    assert remembered is not None
    assert remembered["StackName"] == NAME
    assert newest_deleted(Account(), "other") is None


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("CREATE_IN_PROGRESS", "Wait until it is over."),
        ("UPDATE_IN_PROGRESS", "Wait until it is over."),
        ("ROLLBACK_COMPLETE", StackNotReady.advice),
        ("CREATE_FAILED", StackNotReady.advice),
        ("UPDATE_ROLLBACK_FAILED", StackNotReady.advice),
        ("DELETE_FAILED", StackNotReady.advice),
    ],
)
def test_a_stack_that_is_not_whole(
    stack: DeployedStack, monkeypatch: pytest.MonkeyPatch, status: str, advice: str
) -> None:
    described = {"StackStatus": status, "StackStatusReason": "no room", "StackId": "arn", "Outputs": []}
    monkeypatch.setattr("engines.aws_stack.stack.describe", lambda *_: described)
    with pytest.raises(StackNotReady, match=f"it is in {status} \\(no room\\)") as caught:
        Stack.find(Account(), NAME)
    assert caught.value.advice_given == advice


def test_a_stack_without_all_outputs_is_half_deployed(fake_lambda: FakeLambda) -> None:
    DeployedStack(fake_lambda, {name: value for name, value in OUTPUTS.items() if name != "TrainFunction"})
    with pytest.raises(StackNotReady, match="it has no output TrainFunction"):
        Stack.find(Account(), NAME)


@pytest.mark.parametrize(("version", "word"), [("0.0.9", "older"), ("7.0.0", "newer"), ("7.0.0+ab", "newer")])
def test_a_stack_of_another_version(fake_lambda: FakeLambda, version: str, word: str) -> None:
    DeployedStack(fake_lambda, OUTPUTS | {"CodeVersion": version})
    with pytest.raises(StackVersionDiffers, match=f"of the {word} version {version.split('+')[0]}"):
        Stack.find(Account(), NAME)
    assert Stack.find_any_version(Account(), NAME).outputs["CodeVersion"] == version


def test_no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(RegionMissing, match="no region is named"):
        Stack.find(Account(), NAME)


@pytest.mark.parametrize(("variables", "asked", "found"), [
    ({"AWS_REGION": "eu-west-1"}, "", "eu-west-1"),
    ({"AWS_REGION": "eu-west-1"}, "eu-central-1", "eu-central-1"),
    ({}, "", REGION),
])  # fmt: skip
def test_the_region_is_that_of_the_option_or_the_environment(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], asked: str, found: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Account(asked).region == found


def test_no_such_profile() -> None:
    with pytest.raises(CredentialsMissing, match="nobody"):
        Stack.find(Account(profile="nobody"), NAME)


@pytest.mark.parametrize(
    ("raised", "number"),
    [
        (client_error("ExpiredToken", "DescribeStacks", "The security token is expired."), CredentialsMissing),
        (client_error("UnrecognizedClientException"), CredentialsMissing),
        (NoCredentialsError(), CredentialsMissing),
        (ProfileNotFound(profile="x"), CredentialsMissing),
        (TokenRetrievalError(provider="sso", error_msg="expired"), CredentialsMissing),
        (
            client_error("AccessDeniedException", "Invoke", "not authorized to perform lambda:InvokeFunction"),
            AccessDenied,
        ),
        (client_error("403", "HeadObject", "Forbidden"), AccessDenied),
        (client_error("TooManyRequestsException", message="Rate exceeded"), FunctionThrottled),
        (client_error("EFSMountTimeoutException"), MountFailed),
        (client_error("EFSMountConnectivityException"), MountFailed),
        (client_error("ResourceNotReadyException"), FunctionNotReady),
        (client_error("ResourceConflictException"), FunctionNotReady),
        (EndpointConnectionError(endpoint_url="https://x"), AwsUnreachable),
        (ReadTimeoutError(endpoint_url="https://x"), AwsUnreachable),
        (client_error("ServiceUnavailable"), AwsUnreachable),
        (client_error("SomethingNew", message="never heard of"), AwsRefused),
    ],
)
def test_what_aws_says_is_a_numbered_error(raised: Exception, number: type[LambdafitError]) -> None:
    with pytest.raises(number, match="here: ") as caught, aws_errors("here"):
        raise raised
    assert caught.value.__cause__ is raised
    assert ".." not in caught.value.message


def test_a_failed_upload_is_what_aws_said(stack: DeployedStack, tmp_path: Any) -> None:
    (tmp_path / "a").write_bytes(b"a")
    with pytest.raises(AwsRefused, match="NoSuchBucket"), aws_errors("s3"):
        boto3.client("s3", region_name=REGION).upload_file(str(tmp_path / "a"), "nowhere-at-all", "a")
    assert isinstance(numbered(ValueError("x"), "y"), AwsRefused)
