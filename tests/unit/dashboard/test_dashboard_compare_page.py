"""The page Compare in each of its states, run by Streamlit without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from dashboard_samples import sample_home
from streamlit.testing.v1 import AppTest

from dashboard.figures.compare import NAMES
from engines.home import Home
from stores.sqlite import SqliteStore

PAGE = Path(__file__).parents[3] / "dashboard" / "app_pages" / "compare.py"
FIRST, SECOND, THIRD = "r-aaaa000001", "r-bbbb000001", "r-cccc000001"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("LAMBDAFIT_DASHBOARD", raising=False)
    monkeypatch.delenv("LAMBDAFIT_STACK", raising=False)
    monkeypatch.setenv("LAMBDAFIT_HOME", str(tmp_path))
    return tmp_path


def three_runs(home: Path, state: Any = "finished") -> None:
    sample_home(home, run_id=FIRST)
    sample_home(home, run_id=SECOND, workers=2, started_at=1_790_100_000.0)
    sample_home(home, state, run_id=THIRD, seed=1, started_at=1_790_200_000.0)


def opened(ticks: list[str] | None = None, **query: str) -> AppTest:
    app = AppTest.from_file(str(PAGE), default_timeout=20)
    for name, value in query.items():
        app.query_params[name] = value
    if ticks is not None:
        app.session_state["compare_runs"] = ticks
    app.run()
    assert not app.exception
    return app


def chosen(app: AppTest) -> list[str]:
    return list(app.multiselect(key="compare_chosen").value)


def table(app: AppTest, place: int) -> Any:
    return app.dataframe[place].value


def test_a_home_without_runs_says_how_to_start_one(home: Path) -> None:
    assert "lambdafit train" in opened().code[0].value


def test_one_run_alone_cannot_be_compared(home: Path) -> None:
    sample_home(home, run_id=FIRST)
    app = opened()
    assert app.subheader[0].value == "Choose two runs or more"


def test_the_newest_two_are_compared_at_first(home: Path) -> None:
    three_runs(home)
    app = opened()
    assert chosen(app) == [THIRD, SECOND]
    assert len(app.get("bidi_component")) == 1
    assert app.query_params["runs"] == f"{THIRD},{SECOND}"


def test_the_address_and_the_ticks_of_the_runs_page_choose(home: Path) -> None:
    three_runs(home)
    assert chosen(opened(runs=f"{FIRST},{SECOND}")) == [FIRST, SECOND]
    assert chosen(opened(ticks=[SECOND, FIRST, THIRD])) == [SECOND, FIRST, THIRD]
    assert chosen(opened(runs="r-aaaa,r-cccc")) == [FIRST, THIRD]


def test_a_run_deleted_while_shown_is_left_out_and_said(home: Path) -> None:
    three_runs(home)
    app = opened(ticks=[FIRST, SECOND, THIRD])
    store = SqliteStore(Home(home).environment().store_file)
    store.delete_run(SECOND)
    store.close()
    st.cache_resource.clear()  # the collector may have looked less than a second ago
    app.run()
    for _ in range(2):
        assert not app.exception
        assert chosen(app) == [FIRST, THIRD]
        assert SECOND in app.warning[0].value
        app.run()
    app.multiselect(key="compare_chosen").set_value([THIRD, FIRST]).run()
    assert not app.warning


@pytest.mark.parametrize("state", ["running", "failed", "preparing"])
def test_runs_in_every_state_stand_side_by_side(home: Path, state: str) -> None:
    three_runs(home, state)
    app = opened(ticks=[FIRST, SECOND, THIRD])
    assert list(table(app, 1)["run"]) == [FIRST, SECOND, THIRD]


def test_time_and_cost_to_an_accuracy(home: Path) -> None:
    three_runs(home)
    app = opened(ticks=[FIRST, SECOND])
    rows = table(app, 0)
    assert list(rows["run"]) == [FIRST, SECOND]
    assert not any("not reached" in text for text in rows["reached"])
    app.number_input(key="compare_target").set_value(0.9999).run()
    assert all(text.startswith("not reached, best 0.") for text in table(app, 0)["reached"])


def test_settings_that_differ_and_all_of_them(home: Path) -> None:
    three_runs(home)
    app = opened(ticks=[FIRST, SECOND])
    names = list(table(app, 2)["setting"])
    assert "workers" in names
    assert "seed" not in names
    app.toggle(key="compare_all_settings").set_value(True).run()
    assert "seed" in list(table(app, 2)["setting"])


def test_equal_models_are_named(home: Path) -> None:
    three_runs(home)
    again = sample_home(home, run_id="r-dddd000001", started_at=1_790_300_000.0)
    app = opened(ticks=[FIRST, SECOND, again])
    assert any(f"{FIRST} and {again}" in caption.value for caption in app.caption)


@pytest.mark.parametrize("shown", ["validation accuracy", "validation loss", "training loss"])
@pytest.mark.parametrize("along", ["epoch", "time", "cost"])
def test_every_measure_along_every_axis(home: Path, shown: str, along: str) -> None:
    three_runs(home)
    app = opened(ticks=[FIRST, SECOND, THIRD], compare_shown=shown, compare_along=along)
    assert app.segmented_control(key="compare_along").value == along
    assert NAMES[app.segmented_control(key="compare_shown").value] == shown
    assert len(app.get("bidi_component")) == 1
