"""Shared by all tests: where the real data lie, and how tests are shared out."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import side_by_side
from fakes import aws_models
from rehearsal.fixtures import rehearsed_calls as rehearsed_calls
from rehearsal.fixtures import stage as stage

# A shell ignores Ctrl-C in what it runs in the background. Tests send it to commands, which must hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

aws_models.read_once()

# Speed is measured in benchmarks: beside other tests a property may take as long as it likes.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets; the test is skipped where there is none."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("LAMBDAFIT_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}; set LAMBDAFIT_DATA to run this test")
    return folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests, what takes longest begins first."""
    if getattr(config.option, "numprocesses", None) or hasattr(config, "workerinput"):
        items[:] = side_by_side.in_order(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means."""
    return side_by_side.processes()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests stay together."""
    return side_by_side.make_scheduler(config, log)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Figures that tests have found, as `record_property("figure", …)`: they are a part of what CI prints."""
    lines = [
        f"{report.nodeid.rpartition('::')[2]}: {text}"
        for report in terminalreporter.stats.get("passed", ())
        for name, text in report.user_properties
        if name == "figure"
    ]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)
