"""The page New run in all its states."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from dashboard_samples import sample_home, sample_source
from streamlit.testing.v1 import AppTest
from test_dashboard_new_run_view import made_answer

from dashboard.actions import commands
from dashboard.actions.processes import Finished
from dashboard.queries.collector import Collector
from dashboard.queries.source import Source
from engines.home import Home, HomeLock
from fakes.memory_store import MemoryStore

pytestmark = pytest.mark.usefixtures("gone_to")
PAGE = str(Path(__file__).parents[3] / "dashboard" / "app_pages" / "new_run.py")
RECIPES = {
    "recipes": [
        {"name": "digits-mlp", "title": "Digits", "dataset": "digits", "epochs": 20, "batch_size": 32,
         "settings": {"learning_rate": 0.05, "units": 64, "bias": True, "activation": "relu"}},
        {"name": "fashion-mnist-mlp", "title": "Clothes", "dataset": "fashion-mnist", "epochs": 5, "batch_size": 64,
         "settings": {"learning_rate": 0.05}},
    ]
}  # fmt: skip
BAD = {
    "number": "E103", "name": "TooManyWorkers", "message": "--workers: 900, expected at most 700.", "advice": "Fewer.",
}  # fmt: skip


class Ran:
    """Answers by command; notes what would have been run."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.start = Finished(0, '{"run_id": "r-new00001", "status": "RUNNING"}', "")
        self.dry_run = Finished(0, json.dumps(made_answer()), "")
        self.doctor = Finished(0, '{"ok": true, "checks": []}', "")

    def __call__(self, arguments: Any, _environment: Any, _limit_s: float) -> Finished:
        call = tuple(arguments[len(commands.PROGRAM) :])
        if call[0] == "recipes":
            return Finished(0, json.dumps(RECIPES), "")
        self.calls.append(call)
        if call[0] == "doctor":
            return self.doctor
        return self.dry_run if "--dry-run" in call else self.start


@pytest.fixture
def ran(run_by: Any) -> Ran:
    """Commands are noted, not run."""
    return run_by(Ran())


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Source:
    place = sample_source(MemoryStore(), name="stack trainer, eu-west-1", is_cloud=True, region="eu-west-1")
    monkeypatch.setenv("LAMBDAFIT_DASHBOARD", '{"engine": "aws", "stack_name": "trainer"}')
    monkeypatch.setattr("dashboard.parts.page._collector", lambda _options: Collector(place))
    return place


def opened() -> AppTest:
    st.cache_resource.clear()
    at = AppTest.from_file(PAGE, default_timeout=30).run()
    assert not at.exception
    return at


def button(at: AppTest, key: str) -> Any:
    return next(one for one in at.button if one.key == key)


def figures(at: AppTest) -> list[str]:
    """Those of the estimate."""
    return [one.value.split("**")[1] for one in at.markdown if "**about" in one.value and "  \n" in one.value]


def test_the_command_line_follows_the_form(home: Path, ran: Ran) -> None:
    at = opened()
    end = "--engine local --detach"
    assert at.code[0].value == f"LAMBDAFIT_HOME={home} lambdafit train digits-mlp {end}"
    at.number_input(key="new_run_workers").set_value(8)
    at.number_input(key="new_run_length").set_value(3)
    at.number_input(key="new_run_set_digits-mlp_learning_rate").set_value(0.1)
    at.selectbox(key="new_run_set_digits-mlp_bias").select("false")
    at.selectbox(key="new_run_update_dtype").select("bfloat16").run()
    assert at.code[0].value.endswith(f"--set bias=false --set learning_rate=0.1 {end}")
    assert "--update-dtype bfloat16" in at.code[0].value
    at.selectbox(key="new_run_update_dtype").select("float32")
    at.selectbox(key="new_run_outer").select("adam").run()
    assert at.code[0].value.endswith(
        f"train digits-mlp --workers 8 --epochs 3 --outer adam --set bias=false --set learning_rate=0.1 {end}"
    )
    at.selectbox(key="new_run_recipe").select("fashion-mnist-mlp").run()
    assert at.code[0].value.endswith(f"train fashion-mnist-mlp --workers 8 --epochs 3 --outer adam {end}")
    assert not at.exception
    assert ran.calls == []


def test_a_file_of_ones_own_has_a_path(home: Path, ran: Ran) -> None:
    at = opened()
    at.selectbox(key="new_run_recipe").select("own").run()
    assert "E102" in at.error[0].value
    at.text_input(key="new_run_path").input("my model.keras").run()
    at.text_input(key="new_run_data").input("digits").run()
    assert "train 'my model.keras' --data digits" in at.code[0].value
    assert not at.exception


def test_an_estimate_is_made_once_and_belongs_to_its_settings(home: Path, ran: Ran) -> None:
    at = opened()
    button(at, "new_run_estimate").click().run()
    assert ran.calls == [("train", "digits-mlp", "--engine", "local", "--dry-run", "--json")]
    assert figures(at) == ["about 2 min 00 s", "about 8.3 s", "about \\$0.0149"]
    assert "This machine would be faster." in at.info[0].value
    at.number_input(key="new_run_workers").set_value(8).run()
    assert not figures(at)
    assert any("changed since" in caption.value for caption in at.caption)
    at.number_input(key="new_run_workers").set_value(4).run()
    assert len(figures(at)) == 3
    assert len(ran.calls) == 1


def test_bad_input_is_a_numbered_error(home: Path, ran: Ran) -> None:
    at = opened()
    ran.dry_run = Finished(3, json.dumps({"run_id": None, "error": BAD}), "")
    at.number_input(key="new_run_workers").set_value(900)
    button(at, "new_run_estimate").click().run()
    assert "E103" in at.error[0].value
    assert "Fewer" in at.error[0].value
    assert not at.exception


def test_start_starts_once_with_what_the_form_says_at_that_moment(home: Path, ran: Ran, gone_to: list[str]) -> None:
    at = opened()
    stale = button(at, "new_run_start")
    at.number_input(key="new_run_workers").set_value(2)  # typed, and Start pressed without leaving the field
    stale.click().run()
    assert ran.calls == [("train", "digits-mlp", "--workers", "2", "--engine", "local", "--detach", "--json")]
    assert gone_to == ["convergence"]
    assert at.session_state["next_run"] == "r-new00001"
    stale.click().run()
    assert len(ran.calls) == 1
    assert gone_to == ["convergence", "convergence"]  # the second press had brought the browser back


def test_a_start_that_fails_says_why(home: Path, ran: Ran, gone_to: list[str]) -> None:
    at = opened()
    ran.start = Finished(3, json.dumps({"run_id": None, "error": BAD}), "")
    button(at, "new_run_start").click().run()
    assert "E103" in at.error[0].value
    assert gone_to == []
    assert not at.exception


def test_a_home_that_is_taken_names_the_run(home: Path, ran: Ran, gone_to: list[str]) -> None:
    run_id = sample_home(home, "running")
    lock = HomeLock(Home(home))
    lock.acquire(f"run {run_id}")
    try:
        at = opened()
        assert any(run_id in markdown.value for markdown in at.markdown)
        assert button(at, "new_run_start").disabled
        ran.start = Finished(0, f"{run_id} is stopped.\n", "")
        button(at, "new_run_stop_busy").click().run()
        assert ran.calls == [("runs", "stop", run_id, "--engine", "local")]
        assert "is stopped" in at.toast[0].value
        button(at, "new_run_open_busy").click().run()
        assert gone_to == ["convergence"]
    finally:
        lock.release()
    assert not button(opened(), "new_run_start").disabled


def test_read_only_shows_the_form_and_the_command_line_alone(
    home: Path, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDAFIT_DASHBOARD", f'{{"home": "{home}", "read_only": true}}')
    at = opened()
    assert "--read-only" in at.info[0].value
    assert button(at, "new_run_start").disabled
    assert all(field.disabled for field in (*at.number_input, *at.selectbox))
    assert "lambdafit train digits-mlp" in at.code[0].value


def test_in_a_stack_money_is_asked_for(stack: Source, ran: Ran, gone_to: list[str]) -> None:
    at = opened()
    button(at, "new_run_start").click().run()
    assert [call[-2] for call in ran.calls] == ["--dry-run"]
    assert at.session_state["dialog_open"]
    told = "\n".join(markdown.value for markdown in at.markdown)
    for word in ("0.0149", "10.00", "trainer", "eu-west-1"):
        assert word in told
    button(at, "new_run_confirmed").click().run()
    assert ran.calls[1:] == [
        ("train", "digits-mlp", "--engine", "aws", "--stack-name", "trainer", "--detach", "--json")
    ]
    assert not at.session_state["dialog_open"]
    assert gone_to[-1] == "convergence"


def test_in_a_stack_nothing_is_asked_where_the_estimate_fails(stack: Source, ran: Ran) -> None:
    at = opened()
    ran.dry_run = Finished(3, json.dumps({"run_id": None, "error": BAD}), "")
    button(at, "new_run_start").click().run()
    assert "E103" in at.error[0].value
    assert "dialog_open" not in at.session_state


def test_checks_that_fail_are_shown_with_their_fix(home: Path, ran: Ran) -> None:
    checks = [
        {"name": "Python", "state": "ok", "found": "3.13.0", "fix": ""},
        {"name": "disk", "state": "bad", "found": "full", "fix": "Free some space."},
    ]
    ran.doctor = Finished(3, json.dumps({"ok": False, "checks": checks}), "")
    at = opened()
    button(at, "new_run_check").click().run()
    assert "Free some space." in at.error[0].value
    ran.doctor = Finished(0, json.dumps({"ok": True, "checks": checks[:1]}), "")
    button(at, "new_run_check").click().run()  # troubles are looked at again
    assert not at.error
    button(at, "new_run_check").click().run()  # what was well a moment ago is not
    assert len(ran.calls) == 2
