"""`recipes`, `doctor` and `invoke`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import RunsInStore, last_line

from cli import doctor
from engines.home import Home, HomeLock


def test_recipes(invoke: Any) -> None:
    text = invoke("recipes").stdout
    for part in ("digits-mlp", "fashion-mnist-cnn", "learning_rate=0.05"):
        assert part in text
    found = last_line(invoke("recipes", "--json"))["recipes"]
    assert found[0]["name"] == "digits-mlp"
    assert found[0]["epochs"] == 20


@pytest.fixture
def tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds to load; whether it does is an integration test's matter."""
    monkeypatch.setattr(doctor, "IMPORT_TENSORFLOW", "print('2.21.0', '3.15.1')")


def test_the_doctor_finds_nothing(invoke: Any, home: Path, tensorflow: None) -> None:
    result = invoke("doctor")
    assert result.exit_code == 0, result.output
    for part in ("Python", "2.21.0, Keras 3.15.1", "digits: comes with scikit-learn", "LAMBDAFIT_DATA"):
        assert part in result.stdout
    assert not home.exists()


def test_the_doctor_finds_what_is_wrong(
    invoke: Any, tensorflow: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LAMBDAFIT_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setenv("LAMBDAFIT_TIMEOUT_S", "soon")
    monkeypatch.setattr(doctor, "IMPORT_TENSORFLOW", "raise ImportError('no AVX')")
    result = invoke("doctor")
    assert result.exit_code == 3
    for part in ("E302", "E102", "ImportError: no AVX"):
        assert part in result.stdout


def test_the_doctor_tells_who_holds_the_lock(home: Path) -> None:
    Home(home).create()
    lock = HomeLock(Home(home))
    lock.acquire("run r-0001")
    check = doctor.check_lock(Home(home))
    assert check.state == "note"
    assert "r-0001" in check.found


def test_old_pythons_are_told_of() -> None:
    assert doctor.check_python((3, 14), "3.14.0").state == "bad"
    assert doctor.check_python((3, 12), "3.12.0").state == "ok"


def test_the_bare_start_event_makes_a_run(invoke: Any, stored: RunsInStore) -> None:
    result = invoke("invoke", "start", "-e", "-", stdin='{"start": true, "workers": 5}')
    assert result.exit_code == 0, result.output
    run = stored.store.load_run(last_line(result)["run_id"])
    assert (run.status, run.settings.workers, run.settings.recipe) == ("PENDING", 5, "digits-mlp")
    assert f"lambdafit runs resume {run.run_id}" in result.stderr


@pytest.mark.parametrize(
    ("function", "event", "number"),
    [
        ("nothing", "{}", "E102"),
        ("start", "{}", "E109"),
        ("start", "[1]", "E109"),
        ("start", "{no json", "E109"),
        ("start", '{"start": true, "workers": 0}', "E102"),
        ("start", '{"start": true, "wrokers": 5}', "E102"),
    ],
)
def test_events_that_are_refused(invoke: Any, home: Path, function: str, event: str, number: str) -> None:
    result = invoke("invoke", function, "-e", "-", stdin=event)
    assert result.exit_code == 3
    assert result.stderr.startswith(number)
    assert not home.exists()


def test_an_event_file(invoke: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, Mapping[str, Any]]] = []

    def call(function: str, event: Mapping[str, Any], *_places: object, **_options: object) -> Any:
        calls.append((function, event))
        return {"outcome": "left"}

    monkeypatch.setattr("cli.invocation.call", call)
    event = {"workerno": 3, "workers": 5, "epochsdone": 6}
    (tmp_path / "train.json").write_text(json.dumps(event))
    result = invoke("invoke", "train", "-e", "train.json")
    assert last_line(result) == {"outcome": "left"}
    assert calls == [("train", event)]
    assert invoke("invoke", "train", "-e", "nothing.json").exit_code == 2
