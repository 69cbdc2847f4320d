"""moto in place of AWS, and a stack in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto import mock_aws

from engines.aws import AwsEngine
from engines.aws_stack.account import Account
from fakes.deployed_stack import REGION, DeployedStack, FakeLambda, use_fake_lambda


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No account of anybody's is ever reached."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL", "LAMBDAFIT_STACK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("ACCESS_KEY_ID", "testing"), ("SECRET_ACCESS_KEY", "testing"), ("DEFAULT_REGION", REGION)):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
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
