"""Functions in this process: their variables, and nothing kept from one test to the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from handler_helpers import VARIABLES, fake_services

from handlers import api, monitor, wiring
from runs.services import Services
from stores import aws_clients


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("LAMBDAFIT_HOME", "LAMBDAFIT_DATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    forget()
    yield
    forget()


# What an execution environment keeps warm.
KEPT = (
    wiring.environment,
    wiring.services,
    wiring.objects,
    api._predict_function,
    monitor._notices,
    aws_clients.client,
)


def forget() -> None:
    """As in a new execution environment."""
    for function in KEPT:
        function.cache_clear()


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    """The functions' ports, all in memory."""
    made = fake_services()
    monkeypatch.setattr(wiring, "services", lambda: made)
    return made
