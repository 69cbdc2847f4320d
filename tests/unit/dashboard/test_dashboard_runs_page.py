"""The page Runs in all its states."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from dashboard_samples import SHAPE, State, make_sample, sample_home
from streamlit.testing.v1 import AppTest

from dashboard.actions import commands
from dashboard.actions.processes import Finished
from engines.home import Home
from stores.sqlite import SqliteStore

PAGE = str(Path(__file__).parents[3] / "dashboard" / "app_pages" / "run_list.py")
OK = '{"run_id": "r-new00001", "status": "RUNNING"}'


class Ran:
    """What would have been run."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.finished = Finished(0, OK, "")

    def __call__(self, arguments: Any, _environment: Any, _limit_s: float) -> Finished:
        self.calls.append(tuple(arguments[len(commands.PROGRAM) :]))
        return self.finished


@pytest.fixture
def ran(run_by: Any) -> Ran:
    """Commands are noted, not run."""
    return run_by(Ran())


def opened() -> AppTest:
    st.cache_resource.clear()
    at = AppTest.from_file(PAGE, default_timeout=30).run()
    assert not at.exception
    return at


def button(at: AppTest, key: str) -> Any:
    return next(one for one in at.button if one.key == key)


def texts(at: AppTest) -> str:
    return "\n".join(
        str(one.value) for kind in (at.markdown, at.caption, at.error, at.success, at.subheader) for one in kind
    )


def test_an_empty_home_offers_the_demo(home: Path, ran: Ran, gone_to: list[str]) -> None:
    at = opened()
    assert at.subheader[0].value == "No runs yet"
    assert "lambdafit train digits-mlp --workers 4 --engine local --detach" in at.code[0].value
    button(at, "runs_demo").click().run()
    assert ran.calls == [("train", "digits-mlp", "--workers", "4", "--engine", "local", "--detach", "--json")]
    assert gone_to == ["convergence"]
    assert at.session_state["next_run"] == "r-new00001"
    assert not home.exists()  # looking makes no home


def test_a_second_press_on_the_same_screen_starts_nothing(home: Path, ran: Ran, gone_to: list[str]) -> None:
    at = opened()
    stale = button(at, "runs_demo")
    stale.click().run()
    stale.click().run()
    assert len(ran.calls) == 1


def test_a_demo_that_cannot_start_says_why_and_can_be_tried_again(home: Path, ran: Ran) -> None:
    at = opened()
    ran.finished = Finished(3, "", "E302 HomeNotWritable: LAMBDAFIT_HOME /x: denied.\nName another.\n")
    button(at, "runs_demo").click().run()
    assert not at.exception
    assert "E302" in at.error[0].value
    button(at, "runs_demo").click().run()
    assert len(ran.calls) == 2
    button(at, "acting_dismiss").click().run()
    assert not at.error


def test_read_only_offers_nothing_that_writes(home: Path, ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDAFIT_DASHBOARD", f'{{"home": "{home}", "read_only": true}}')
    at = opened()
    assert button(at, "runs_demo").disabled
    assert at.code[0].value.endswith("--detach")
    run_id = sample_home(home, "failed")
    at = opened()
    at.checkbox(key=f"runs_tick_{run_id}").check().run()
    assert button(at, "runs_resume").disabled
    assert button(at, "runs_remove").disabled


def test_runs_in_every_state_are_cards_and_lines(home: Path, ran: Ran) -> None:
    states: tuple[State, ...] = ("pending", "preparing", "running", "finished", "failed", "cancelled")
    for index, state in enumerate(states):
        sample_home(home, state, run_id=f"r-{state[:4]}{index}", started_at=1.7e9 + index)
    at = opened()
    frame = at.dataframe[0].value
    assert list(frame["run"]) == [f"r-{state[:4]}{index}" for index, state in reversed(list(enumerate(states)))]
    assert set(frame["status"]) == {"○ not started", "‖ interrupted", "✔ finished", "✖ failed", "■ stopped"}
    assert len(frame["curve"][2]) == 6
    assert len([one for one in at.metric if one.label == "train loss"]) >= 4


def test_sixty_runs_are_searched_quickly(home: Path, ran: Ran) -> None:
    place = Home(home)
    place.create()
    store = SqliteStore(place.environment().store_file)
    shape = SHAPE._replace(workers=1, rounds=1, steps_per_round=2)
    for index in range(60):
        make_sample(store, shape._replace(run_id=f"r-many{index:03d}", started_at=1.7e9 + index))
    store.close()
    at = opened()
    assert len(at.dataframe[0].value) == 60
    assert len(at.checkbox) == 4
    began = time.perf_counter()
    at.text_input(key="runs_text").input("many01").run()
    assert time.perf_counter() - began < 1.0
    assert len(at.dataframe[0].value) == 10
    at.text_input(key="runs_text").input("no such run").run()
    assert "No run fits" in texts(at)
    assert not at.exception


def test_ticked_runs_are_compared_wherever_they_were_ticked(home: Path, ran: Ran, gone_to: list[str]) -> None:
    ids = [sample_home(home, run_id=f"r-tick{index}", started_at=1.7e9 + index) for index in range(6)]
    at = opened()
    at.checkbox(key=f"runs_tick_{ids[5]}").check().run()
    assert button(at, "runs_compare").disabled
    at.session_state["compare_runs"] = [*at.session_state["compare_runs"], ids[0], "r-gone"]  # as by the table
    at.run()
    assert at.session_state["compare_runs"] == [ids[5], ids[0]]
    assert button(at, "runs_compare").label == "Compare 2 runs"
    assert at.session_state["runs_table"]["selection"]["rows"] == [0, 5]
    button(at, "runs_compare").click().run()
    assert gone_to == ["compare"]


def test_a_card_opens_its_run(home: Path, ran: Ran, gone_to: list[str]) -> None:
    run_id = sample_home(home)
    at = opened()
    button(at, f"runs_open_{run_id}").click().run()
    assert gone_to == ["convergence"]
    assert at.session_state["next_run"] == run_id


def test_a_run_is_removed_after_a_question(home: Path, ran: Ran) -> None:
    run_id = sample_home(home)
    at = opened()
    at.checkbox(key=f"runs_tick_{run_id}").check().run()
    button(at, "runs_remove").click().run()
    assert at.session_state["dialog_open"]
    assert not ran.calls
    ran.finished = Finished(0, f"Removed {run_id}.\n", "")
    button(at, "runs_remove_confirmed").click().run()
    assert not at.exception
    assert ran.calls == [("runs", "rm", run_id, "--yes", "--engine", "local")]
    assert not at.session_state["dialog_open"]
    assert "Removed" in at.toast[0].value


def test_a_stopped_run_is_resumed_with_another_budget(home: Path, ran: Ran, gone_to: list[str]) -> None:
    run_id = sample_home(home, "cancelled")
    at = opened()
    at.checkbox(key=f"runs_tick_{run_id}").check().run()
    button(at, "runs_resume").click().run()
    at.number_input(key="runs_resume_budget").set_value(2.5)
    button(at, "runs_resume_confirmed").click().run()
    assert not at.exception
    assert ran.calls == [("runs", "resume", run_id, "--max-cost-usd", "2.5", "--detach", "--engine", "local", "--json")]
    assert gone_to[-1] == "convergence"


def test_a_store_that_is_none_is_a_numbered_error(home: Path, ran: Ran) -> None:
    sample_home(home)
    for file in home.glob("runs.db*"):
        file.write_bytes(b"this is no database" * 1000)
    at = opened()
    assert "E306" in at.error[0].value
