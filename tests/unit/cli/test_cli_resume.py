"""`runs resume`."""

from __future__ import annotations

from typing import Any

import pytest
from cli_helpers import FakeEngine, RunsInStore, finished, interrupted, last_line
from msgspec.structs import replace


def test_an_interrupted_run_is_resumed(invoke: Any, stored: RunsInStore, engine: type[FakeEngine]) -> None:
    stored.add("r-0001", interrupted)
    result = invoke("runs", "resume", "latest", "--json", "--max-cost-usd", "3", "--deadline-s", "50")
    assert result.exit_code == 0, result.output
    assert last_line(result)["status"] == "FINISHED"
    settings = stored.store.load_run("r-0001").settings
    assert (settings.max_cost_usd, settings.deadline_s) == (3.0, 50.0)
    assert engine.made[0].prestarted


def test_a_resume_takes_new_limits_of_functions_over(
    invoke: Any, stored: RunsInStore, engine: type[FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDAFIT_TIMEOUT_S", "7")
    stored.add("r-0001", interrupted)
    invoke("runs", "resume", "r-0001")
    assert engine.made[0].settings.time_limit_s == 7.0
    assert stored.store.load_run("r-0001").settings.time_limit_s == 7.0


def test_a_finished_run_cannot_be_resumed(invoke: Any, stored: RunsInStore, engine: type[FakeEngine]) -> None:
    stored.add("r-0001", finished)
    result = invoke("runs", "resume", "latest", "--json")
    assert result.exit_code == 3
    assert "E110 NotResumable" in result.stderr
    assert last_line(result)["error"]["number"] == "E110"


def test_a_run_of_other_code_cannot_be_resumed(invoke: Any, stored: RunsInStore, engine: type[FakeEngine]) -> None:
    stored.add("r-0001", lambda run: replace(interrupted(run), code_version="0.0.1+other"))
    result = invoke("runs", "resume", "latest")
    assert result.exit_code == 3
    assert "E205 CodeChanged" in result.stderr


def test_a_resume_with_a_bad_limit(invoke: Any, stored: RunsInStore, engine: type[FakeEngine]) -> None:
    stored.add("r-0001", interrupted)
    assert "E102" in invoke("runs", "resume", "latest", "--max-cost-usd", "nan").stderr
    assert stored.store.load_run("r-0001").settings.max_cost_usd == 10.0
