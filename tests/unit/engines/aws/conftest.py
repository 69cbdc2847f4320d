"""moto in place of AWS, and a stack in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto import mock_aws

from engines.aws import AwsEngine
from engines.aws_stack.account import Account
from fakes.deployed_stack import DeployedStack, FakeLambda, pretend_credentials, use_fake_lambda


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """moto answers in place of AWS."""
    pretend_credentials(monkeypatch)
    with mock_aws():
        yield


@pytest.fixture
def fake_lambda(monkeypatch: pytest.MonkeyPatch) -> FakeLambda:
    """Lambda's client."""
    return use_fake_lambda(monkeypatch)


@pytest.fixture
def stack(fake_lambda: FakeLambda) -> DeployedStack:
    """A stack as `deploy` leaves it."""
    return DeployedStack(fake_lambda)


@pytest.fixture
def engine(stack: DeployedStack) -> AwsEngine:
    """Its engine, on a clock that does not wait."""
    opened = AwsEngine.open(Account(), "lambdafit")
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    return AwsEngine(opened.account, opened.stack, sleep=sleep, now=lambda: clock[0])
