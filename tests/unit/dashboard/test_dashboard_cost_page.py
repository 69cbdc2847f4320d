"""The page Cost in each of its states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from dashboard_samples import sample_home, sample_snapshot
from msgspec.structs import replace
from shown_run import ShownRun, texts
from shown_run import open_page as one_page
from streamlit.testing.v1 import AppTest

from dashboard.queries.run_data import RunSnapshot
from runs.bill import make_bill
from runs.words import usd

Open = Callable[[RunSnapshot], AppTest]


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch) -> Open:
    shown = ShownRun(monkeypatch)
    return lambda snapshot: shown.open("cost", snapshot)


def metrics(page: AppTest) -> dict[str, str]:
    """Label → value."""
    return {metric.label: metric.value for metric in page.metric}


def test_a_run_of_this_machine_that_has_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = sample_home(tmp_path)
    monkeypatch.setenv("LAMBDAFIT_HOME", str(tmp_path))
    page = one_page("cost")
    assert "Had it run on Lambda, final" in metrics(page)
    assert "takes place on this machine and costs nothing" in texts(page)
    assert page.code[0].value == f"lambdafit cost {run_id} --json"
    assert "Estimate at the end" not in texts(page)
    assert "rices of us-east-1" in texts(page)


def test_the_sum_is_that_of_the_bill(open_page: Open) -> None:
    snapshot = sample_snapshot()
    page = open_page(snapshot)
    bill = make_bill(snapshot.history(), snapshot.read_at)
    assert metrics(page)["Had it run on Lambda, final"] == usd(bill.total_usd)
    table = page.dataframe[0].value
    assert len(table) == len(bill.lines)
    assert table["cost ($)"].sum() == pytest.approx(bill.total_usd)
    assert set(table["known from"]) == {"record", "estimate"}


def test_a_run_that_goes_on_has_an_estimate(open_page: Open) -> None:
    page = open_page(sample_snapshot(state="running"))
    assert "If it ran on Lambda, so far" in metrics(page)
    assert "by functions at work of $10" in texts(page)
    assert "Estimate at the end: $" in texts(page)
    assert "× 6 rounds" in texts(page)


def test_a_budget_that_will_not_last_is_said(open_page: Open) -> None:
    snapshot = sample_snapshot(state="running")
    settings = replace(snapshot.run.settings, max_cost_usd=sum(one.cost_usd for one in snapshot.rounds) * 1.2)
    page = open_page(snapshot._replace(run=replace(snapshot.run, run_id="r-poor000001", settings=settings)))
    assert "The budget ends the run in about round 5" in texts(page)


def test_on_aws_the_bill_is_real(open_page: Open) -> None:
    snapshot = sample_snapshot()
    cloud = snapshot.source._replace(
        is_cloud=True, name="stack s, eu-north-7", region="eu-north-7", architecture="arm64"
    )
    page = open_page(snapshot._replace(source=cloud))
    assert "Cost, final" in metrics(page)
    assert "there are none of eu-north-7" in texts(page)
    assert "arm64" in texts(page)


@pytest.mark.parametrize("state", ["pending", "preparing"])
def test_before_the_first_round(open_page: Open, state: str) -> None:
    page = open_page(sample_snapshot(state=state))  # type: ignore[arg-type]
    assert "No round is done yet" in texts(page)
    assert len(page.metric) == 7


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_run_that_ended_early_has_its_bill(open_page: Open, state: str) -> None:
    page = open_page(sample_snapshot(state=state))  # type: ignore[arg-type]
    assert "Had it run on Lambda, final" in metrics(page)


def test_what_goes_on_costing(open_page: Open) -> None:
    said = texts(open_page(sample_snapshot()))
    assert "Afterwards: $" in said
    assert "A stack that nobody uses: $" in said
    assert "Assumptions, and prices of 20" in said
    assert "Not counted: free tiers" in said


def test_a_home_without_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDAFIT_HOME", str(tmp_path / "nothing"))
    assert "No runs yet" in texts(one_page("cost"))
