"""The page Workers in all its states, as Streamlit runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from dashboard_samples import State, sample_home
from streamlit.testing.v1 import AppTest

PAGE = Path(__file__).resolve().parents[3] / "dashboard" / "app_pages" / "workers.py"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAMBDAFIT_HOME", str(tmp_path))
    monkeypatch.delenv("LAMBDAFIT_STACK", raising=False)
    monkeypatch.delenv("LAMBDAFIT_DASHBOARD", raising=False)
    return tmp_path


def opened(**query: str) -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=30)
    page.query_params["run"] = "latest"
    for name, value in query.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception, page.exception
    return page


def texts(page: AppTest) -> str:
    return "\n".join(element.value for element in (*page.subheader, *page.markdown, *page.caption))


def test_a_finished_run(home: Path) -> None:
    sample_home(home, "finished")
    page = opened()

    assert "times as long as the median" in page.subheader[0].value
    assert "the slowest one" in texts(page)
    table = page.dataframe[0].value
    assert list(table["slowdown"]) == sorted(table["slowdown"], reverse=True)
    assert len(page.dataframe) == 1


@pytest.mark.parametrize("state", ["running", "failed", "cancelled"])
def test_a_run_that_is_not_finished(home: Path, state: State) -> None:
    sample_home(home, state)
    page = opened()

    assert len(page.dataframe) == 1
    assert "In detail:" in texts(page)


@pytest.mark.parametrize("state", ["pending", "preparing"])
def test_before_anything_has_begun(home: Path, state: State) -> None:
    sample_home(home, state)
    page = opened()

    assert "Nothing to show yet" in texts(page)
    assert not page.dataframe


def test_one_worker(home: Path) -> None:
    sample_home(home, "finished", workers=1)

    assert opened().subheader[0].value == "One worker: there is nobody to wait for."


def test_next_and_previous_worker_go_round(home: Path) -> None:
    sample_home(home, "finished", workers=3, troubles=True)
    page = opened()

    for expected in (0, 1, 2, 0):
        page.button(key="workers_next").click().run()
        assert page.selectbox(key="workers_worker").value == expected
        assert not page.exception
    page.button(key="workers_previous").click().run()
    assert page.selectbox(key="workers_worker").value == 2
    assert "Worker 2" in texts(page)
    assert "✖ lost: ended without a report" in list(page.dataframe[1].value["outcome"])
    assert list(page.dataframe[0].value["chosen"]).count("▶") == 1


def test_a_link_chooses_worker_round_and_means(home: Path) -> None:
    sample_home(home, "finished")
    page = opened(workers_worker="2", workers_round="3", workers_mean="by worker")

    assert page.selectbox(key="workers_worker").value == 2
    assert "In detail: round 3" in texts(page)
    assert page.dataframe[1].value["round"].max() == 6
    page.number_input(key="workers_round").set_value(99).run()
    assert "Round 99 has not begun" in texts(page).replace("\\", "")


def test_a_link_to_a_worker_that_is_not_there(home: Path) -> None:
    sample_home(home, "finished", workers=2)

    assert opened(workers_worker="77").selectbox(key="workers_worker").value is None


def test_a_home_without_runs(home: Path) -> None:
    page = opened()

    assert "No runs yet" in texts(page)
