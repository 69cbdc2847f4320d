"""A home of its own for each test, an engine that needs no process, and the command line as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_helpers import FakeEngine, RunsInStore
from click.testing import CliRunner, Result

from cli.main import main
from engines.aws_stack.prepare_process import prepare_here
from fakes.deployed_stack import DeployedStack, pretend_credentials, use_fake_lambda

Invoke = Callable[..., Result]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LAMBDAFIT_HOME; not made yet."""
    folder = tmp_path / "home"
    for name in ("DATA", "TIMEOUT_S", "MEMORY_MB", "CONCURRENCY", "STACK"):
        monkeypatch.delenv(f"LAMBDAFIT_{name}", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("LAMBDAFIT_HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def invoke() -> Invoke:
    """`lambdafit ARGUMENTS…`."""

    def call(*arguments: str, stdin: str = "") -> Result:
        return CliRunner().invoke(main, list(arguments), input=stdin, prog_name="lambdafit")

    return call


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> type[FakeEngine]:
    """The engine of `train` and `resume`, which ends a run as the test wants it to."""
    FakeEngine.reset()
    monkeypatch.setattr("cli.train_run.LocalEngine", FakeEngine)
    return FakeEngine


@pytest.fixture
def stored(home: Path) -> RunsInStore:
    """Runs in the home, as engines leave them."""
    return RunsInStore(home)


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[DeployedStack]:
    """A deployed stack, by moto. Data are prepared in this process, which need not import scikit-learn each time."""
    from moto import mock_aws

    monkeypatch.setattr("engines.aws_stack.datasets.prepare_apart", prepare_here)
    pretend_credentials(monkeypatch)
    with mock_aws():
        yield DeployedStack(use_fake_lambda(monkeypatch))
