"""Shared by the tests of pages that act: what would be run, where one would go, and a home that is not there yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import streamlit as st

from dashboard.actions import commands
from dashboard.actions.processes import Runner
from dashboard.options import Options


@pytest.fixture
def run_by(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has the pages' commands carried out by a runner of the test's own."""

    def use[R: Runner](runner: R) -> R:
        class Noted(commands.Commands):
            def __init__(self, options: Options) -> None:
                super().__init__(options, runner)

        monkeypatch.setattr("dashboard.parts.page.Commands", Noted)
        return runner

    return use


@pytest.fixture
def gone_to(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pages that were gone to, which ends the script: alone, a page knows no others."""
    pages: list[str] = []

    def go(page: Any, **_more: Any) -> None:
        pages.append(Path(str(page)).stem)
        st.stop()

    monkeypatch.setattr(st, "switch_page", go)
    return pages


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home that the pages show."""
    for name in ("LAMBDAFIT_DASHBOARD", "LAMBDAFIT_STACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LAMBDAFIT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
