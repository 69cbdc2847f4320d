"""The page Convergence in each of its states, run by Streamlit without a browser."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dashboard_samples import SHAPE, make_sample
from streamlit.testing.v1 import AppTest

from engines.home import Home
from stores.sqlite import SqliteStore

PAGE = Path(__file__).parents[3] / "dashboard" / "app_pages" / "convergence.py"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("LAMBDAFIT_DASHBOARD", raising=False)
    monkeypatch.delenv("LAMBDAFIT_STACK", raising=False)
    monkeypatch.setenv("LAMBDAFIT_HOME", str(tmp_path))
    return tmp_path


def record(home: Path, state: Any = "finished", **shape: Any) -> None:
    Home(home).create()
    store = SqliteStore(Home(home).environment().store_file)
    make_sample(store, SHAPE._replace(**shape), state)
    store.close()


def make_regression(home: Path) -> None:
    """As if the run's recipe predicted numbers: figures of a made run are those of classes."""
    with closing(sqlite3.connect(Home(home).environment().store_file)) as database, database:
        for table, key in (("runs", "run_id"), ("rounds", "round_index")):
            for row, data in database.execute(f"SELECT {key}, data FROM {table}").fetchall():  # noqa: S608
                record = msgspec.json.decode(data)
                record.get("metrics", {}).pop("val/accuracy", None)
                record.pop("results", None)
                record.get("data_facts", {})["classes"] = 0
                text = msgspec.json.encode(record)
                database.execute(f"UPDATE {table} SET data = ? WHERE {key} = ?", (text, row))  # noqa: S608


def opened(**query: str) -> AppTest:
    app = AppTest.from_file(str(PAGE), default_timeout=20)
    app.query_params["run"] = "latest"
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def charts(app: AppTest) -> list[Any]:
    """What the chart component was handed, as text."""
    return [element.proto for element in app.get("bidi_component")]


def captions(app: AppTest) -> list[str]:
    return [caption.value for caption in app.caption]


def metrics(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_a_home_without_runs_says_how_to_start_one(home: Path) -> None:
    app = opened()
    assert "lambdafit train" in app.code[0].value
    assert not charts(app)


@pytest.mark.parametrize("state", ["running", "finished", "failed", "cancelled"])
def test_a_run_shows_loss_and_accuracy(home: Path, state: str) -> None:
    record(home, state)
    app = opened()
    assert len(charts(app)) == 2
    assert [header.value for header in app.subheader] == ["Loss", "Accuracy"]
    assert [text for text in captions(app) if text.startswith("all ")] == [
        f"all {120 if state == 'finished' else 90} points"
    ] * 2
    shown = metrics(app)
    assert list(shown) == ["Training loss", "Validation accuracy", "Best validation accuracy", "Examples/s"]
    assert "–" not in shown.values()


@pytest.mark.parametrize("state", ["pending", "preparing"])
def test_before_the_first_step_it_says_what_is_going_on(home: Path, state: str) -> None:
    record(home, state)
    app = opened()
    assert app.subheader[0].value == "The first steps have not come in yet"
    assert not charts(app)


def test_one_worker_offers_no_choice_of_workers(home: Path) -> None:
    record(home, workers=1)
    app = opened()
    assert len(charts(app)) == 2
    assert not app.multiselect


def test_a_regression_has_no_accuracy_and_says_so(home: Path) -> None:
    record(home, accuracies=False)
    make_regression(home)
    app = opened()
    assert len(charts(app)) == 1
    assert any("predicts numbers, not classes" in text for text in captions(app))
    assert list(metrics(app)) == ["Training loss", "Validation loss", "Best validation loss", "Examples/s"]


def test_eight_workers_are_drawn_and_a_ninth_is_not_offered(home: Path) -> None:
    record(home, workers=10)
    app = opened()
    app.multiselect(key="convergence_workers").set_value(list(range(8))).run()
    assert not app.exception
    assert [text for text in captions(app) if text.endswith("points")] == ["all 1,080 points"] * 2
    assert app.multiselect(key="convergence_workers").proto.max_selections == 8


@pytest.mark.parametrize("level", ["step", "round", "epoch"])
@pytest.mark.parametrize("axis", ["step", "epoch", "time"])
def test_every_level_along_every_axis(home: Path, level: str, axis: str) -> None:
    record(home, troubles=True)
    app = opened(convergence_level=level, convergence_axis=axis)
    assert app.segmented_control(key="convergence_axis").value == axis
    assert app.segmented_control(key="convergence_level").value == level
    points = {"step": "all 120 points", "round": "all 6 points"}.get(level)
    assert points is None or points in captions(app)
    assert len(charts(app)) == 2


def test_log_and_smoothing_come_from_the_address(home: Path) -> None:
    record(home)
    app = opened(convergence_log="true", convergence_smoothing="0.9")
    assert app.toggle(key="convergence_log").value
    assert app.slider(key="convergence_smoothing").value == 0.9
    texts = [str(proto) for proto in charts(app)]
    assert any("loss, logarithmic" in text for text in texts)
    assert all("smoothed" in text for text in texts)


def test_chosen_workers_come_from_the_address(home: Path) -> None:
    record(home)
    app = opened(convergence_workers="3")
    assert app.multiselect(key="convergence_workers").value == [3]
    assert all("worker 3" in str(proto) for proto in charts(app))


def test_all_workers_are_a_map(home: Path) -> None:
    record(home)
    app = opened(convergence_all="true")
    assert len(charts(app)) == 2
    assert all("heatmap" in str(proto) for proto in charts(app))
    assert captions(app).count("all 480 points") == 2


def test_a_deleted_run_is_said_to_be_gone(home: Path) -> None:
    record(home)
    app = opened(run="r-0000000000")
    assert "r-0000000000" in app.error[0].value


def test_many_rounds_are_ticks_and_that_is_said(home: Path) -> None:
    record(home, rounds=80, steps_per_round=5)
    assert any("80 combine points" in text for text in captions(opened()))


def test_the_table_has_a_row_a_point(home: Path) -> None:
    record(home)
    app = opened()
    app.toggle(key="convergence_loss_step_table").set_value(True).run()
    assert not app.exception
    table = app.dataframe[0].value
    assert list(table.columns) == ["step", "10th percentile", "90th percentile", "median of 4 workers"]
    assert len(table) == 120
    assert json.dumps(table["step"].tolist()[:3]) == "[1, 2, 3]"
