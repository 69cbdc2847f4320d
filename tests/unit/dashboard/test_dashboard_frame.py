"""The whole app around a page: header, states of the place, who may come in, stopping a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import streamlit as st
from dashboard_samples import SHAPE, sample_home
from streamlit.testing.v1 import AppTest

from benchmarks.recorded_run import LiveRun
from dashboard.actions import commands
from dashboard.actions.processes import Finished
from dashboard.options import VARIABLE, Options
from dashboard.parts.live import DIALOG_KEY, PAUSED_KEY, SEEN_KEY
from dashboard.queries.collector import Collector

APP = str(Path(__file__).parents[3] / "dashboard" / "streamlit_app.py")


@pytest.fixture(autouse=True)
def fresh_place() -> Iterator[None]:
    """No collector of another test."""
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def app(monkeypatch: pytest.MonkeyPatch, home: Path, run: str = "", **options: Any) -> AppTest:
    monkeypatch.setenv(VARIABLE, msgspec.json.encode(Options(home=str(home), **options)).decode())
    at = AppTest.from_file(APP, default_timeout=60)
    if run:
        at.query_params["run"] = run
    return at.run()


def texts(at: AppTest) -> str:
    shown = [*at.error, *at.warning, *at.subheader, *at.markdown, *at.caption, *at.success]
    return "\n".join(str(element.value) for element in shown)


def labels(at: AppTest) -> dict[str, Any]:
    return {button.label: button for button in at.button}


def test_an_empty_home_offers_a_first_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    at = app(monkeypatch, tmp_path / "none")
    assert not at.exception
    assert "No runs yet" in texts(at)
    assert not (tmp_path / "none").exists()


def test_the_address_names_the_run_by_its_id_or_its_beginning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_id = sample_home(tmp_path, "finished")
    sample_home(tmp_path, "finished", run_id="r-other00001")
    for name in (run_id, run_id[:5], "r-other"):
        at = app(monkeypatch, tmp_path, run=name)
        assert not at.exception and not at.error
        assert at.selectbox(key="run").value == name


@pytest.mark.parametrize("page", ["convergence", "workers", "predictions", "cost"])
def test_a_run_that_is_not_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, page: str) -> None:
    sample_home(tmp_path, "finished")
    monkeypatch.setenv(VARIABLE, msgspec.json.encode(Options(home=str(tmp_path))).decode())
    at = AppTest.from_file(str(Path(APP).parent / "app_pages" / f"{page}.py"), default_timeout=60)
    at.query_params["run"] = "r-nothere001"
    at.run()
    assert not at.exception
    assert "E304" in texts(at) and "choose another one" in texts(at)


def test_a_failed_run_says_why_and_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_id = sample_home(tmp_path, "failed")
    at = app(monkeypatch, tmp_path, run=run_id)
    assert "E405" in texts(at) and "runs resume" in texts(at)
    assert "Stop" not in labels(at)


def test_a_corrupt_store_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sample_home(tmp_path, "finished")
    for store in tmp_path.rglob("*.db"):
        store.write_bytes(b"this is no database" * 100)
    at = app(monkeypatch, tmp_path)
    assert not at.exception
    assert "E30" in texts(at)


def test_pause_stops_the_look_for_news_and_live_begins_it_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    at = app(monkeypatch, tmp_path, run=sample_home(tmp_path, "running"))
    assert PAUSED_KEY not in at.session_state
    labels(at)["Pause"].click().run()
    assert at.session_state[PAUSED_KEY] is True
    labels(at)["Live"].click().run()
    assert at.session_state[PAUSED_KEY] is False


def test_what_comes_while_a_page_is_drawn_is_news(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[Collector] = []

    class Kept(Collector):
        def __init__(self, source: Any) -> None:
            super().__init__(source, least_s=0.0)
            made.append(self)

    monkeypatch.setattr("dashboard.parts.page.Collector", Kept)
    with LiveRun(tmp_path, SHAPE._replace(rounds=2), rounds_done=1) as live:
        monkeypatch.setattr("dashboard.parts.acting.show_news", lambda: live.advance(5))  # behind the header
        at = app(monkeypatch, tmp_path, run=live.run_id)
        assert not at.exception
        assert at.session_state[SEEN_KEY].revision < made[0].look(live.run_id).revision


class Ran:
    """What would have been run."""

    def __init__(self, finished: Finished) -> None:
        self.calls: list[list[str]] = []
        self.finished = finished

    def __call__(self, arguments: Any, _environment: Any, _limit_s: float) -> Finished:
        self.calls.append(list(arguments[len(commands.PROGRAM) :]))
        return self.finished


def test_stop_asks_first_and_keeps_the_dialog_open_over_news(
    monkeypatch: pytest.MonkeyPatch, run_by: Any, tmp_path: Path
) -> None:
    run_id = sample_home(tmp_path, "running")
    ran = run_by(Ran(Finished(0, json.dumps({"run_id": run_id, "status": "CANCELLED"}), "")))
    at = app(monkeypatch, tmp_path, run=run_id)
    labels(at)["Stop"].click().run()
    assert at.session_state[DIALOG_KEY] is True
    assert ran.calls == []
    labels(at)["Stop it"].click().run()
    assert not at.exception
    assert [call[:3] for call in ran.calls] == [["runs", "stop", run_id]]
    assert at.session_state[DIALOG_KEY] is False


def test_a_stop_that_fails_says_so_in_the_dialog(monkeypatch: pytest.MonkeyPatch, run_by: Any, tmp_path: Path) -> None:
    run_id = sample_home(tmp_path, "running")
    run_by(Ran(Finished(3, "", "E302 StoreBusy: the store: it is locked.\nTry again.")))
    at = app(monkeypatch, tmp_path, run=run_id)
    labels(at)["Stop"].click().run()
    labels(at)["Stop it"].click().run()
    assert "E302" in texts(at)


def test_read_only_switches_stopping_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    at = app(monkeypatch, tmp_path, run=sample_home(tmp_path, "running"), read_only=True)
    assert labels(at)["Stop"].disabled


def test_a_list_of_visitors_needs_a_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_id = sample_home(tmp_path, "finished")
    at = app(monkeypatch, tmp_path, run=run_id, allow=("ada@example.org",))
    assert not at.exception
    assert "Logging in is not set up" in texts(at)
    assert run_id not in texts(at)


class Visitor(dict[str, Any]):
    """`st.user` of somebody who has logged in, or has not."""

    @property
    def is_logged_in(self) -> bool:
        return bool(self)


@pytest.mark.parametrize(
    ("visitor", "shown"),
    [
        (Visitor(), "Please log in"),
        (Visitor(email="Ada@Example.org", email_verified=True), ""),
        (Visitor(email="eve@example.org", email_verified=True), "No access"),
        (Visitor(email="ada@example.org", email_verified=False), "No access"),
        (Visitor(name="nobody"), "No access"),
    ],
    ids=["nobody yet", "on the list", "not on the list", "an address that nobody has verified", "without an address"],
)
def test_only_who_is_on_the_list_comes_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, visitor: Visitor, shown: str
) -> None:
    monkeypatch.setattr("dashboard.parts.access._login_is_set_up", lambda: True)
    monkeypatch.setattr(st, "user", visitor)
    run_id = sample_home(tmp_path, "finished")
    at = app(monkeypatch, tmp_path, run=run_id, allow=("ada@example.org",))
    assert not at.exception
    assert shown in texts(at)
    assert (run_id in texts(at)) == (not shown)
