"""Sums, budget, curve and end of a run's cost; the bill is the command line's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from dashboard_samples import State, sample_home, sample_snapshot
from msgspec.structs import replace

from dashboard.figures.cost import machines_figure, spent_figure
from dashboard.figures.theme import DARK, LIGHT
from dashboard.options import Options
from dashboard.queries.collector import Collector
from dashboard.queries.source import open_source
from dashboard.views.cost import (
    Curve,
    amount,
    bill_columns,
    budget_of,
    by_service,
    curve,
    expected,
    headline,
    stays_columns,
    stored,
    totals,
)
from dashboard.views.remembered import Remembered
from dashboard.views.run_bill import LEAST_S, Made, run_bill
from runs.bill import make_bill
from runs.budget import attempt_reservation_usd, spent_usd, with_grants
from runs.idle import idle_cost
from runs.words import usd

NOW = 1_800_000_000.0


@pytest.mark.parametrize("state", ["finished", "failed", "cancelled"])
def test_the_same_figures_as_the_command_line(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cli.main import main

    run_id = sample_home(tmp_path, state, troubles=True)
    monkeypatch.setenv("LAMBDAFIT_HOME", str(tmp_path))
    told = json.loads(CliRunner().invoke(main, ["cost", run_id, "--json"], catch_exceptions=False).output)
    collector = Collector(open_source(Options(home=str(tmp_path))))
    try:
        bill = run_bill(collector.look(run_id), NOW)
    finally:
        collector.close()
    assert told["lines"] == [line._asdict() for line in bill.lines]
    for name in ("total_usd", "budget_usd", "spent_usd", "in_flight_usd", "region", "price_date", "core_s"):
        assert told[name] == getattr(bill, name), name
    assert told["machines"] == [json.loads(json.dumps(machine._asdict())) for machine in bill.machines]


def test_a_running_bill_counts_what_is_at_work() -> None:
    snapshot = sample_snapshot(state="running")
    bill = run_bill(snapshot, snapshot.read_at, Remembered())
    assert bill == make_bill(snapshot.history(), snapshot.read_at)
    assert bill.in_flight_usd > 0


def test_a_bill_is_made_once_for_a_run_that_has_ended() -> None:
    kept: Remembered[Made] = Remembered()
    snapshot = sample_snapshot()
    assert run_bill(snapshot, NOW, kept) is run_bill(snapshot, NOW + 1000, kept)
    assert run_bill(snapshot._replace(revision=snapshot.revision + 1), NOW, kept) is not run_bill(snapshot, NOW, kept)


def test_a_bill_of_a_running_run_is_made_now_and_then() -> None:
    kept: Remembered[Made] = Remembered()
    snapshot = sample_snapshot(state="running")
    first = run_bill(snapshot, NOW, kept)
    newer = snapshot._replace(revision=snapshot.revision + 1)
    assert run_bill(newer, NOW + LEAST_S / 2, kept) is first
    assert run_bill(newer, NOW + LEAST_S, kept) is not first


def test_the_end_of_a_run_makes_a_bill_at_once() -> None:
    kept: Remembered[Made] = Remembered()
    snapshot = sample_snapshot(state="running")
    run_bill(snapshot, NOW, kept)
    ended = snapshot._replace(run=replace(snapshot.run, status="CANCELLED"), revision=snapshot.revision + 1)
    assert run_bill(ended, NOW, kept).status == "CANCELLED"


def test_few_results_are_kept() -> None:
    kept: Remembered[int] = Remembered(most=2)
    for name in "abc":
        kept.put(name, ord(name))
    assert kept.peek("a") is None
    assert kept.peek("b") == ord("b")
    kept.put("d", 4)
    assert kept.peek("c") is None  # b was asked for later
    assert kept.peek("b") == ord("b")


def test_sums_are_those_of_the_lines() -> None:
    bill = make_bill(sample_snapshot().history(), NOW)
    taken = totals(bill)
    functions = [line for line in bill.lines if line.group == "Lambda" and line.unit == "GB-s"]
    assert taken.gb_s == pytest.approx(sum(line.amount for line in functions if line.name != "temporary storage"))
    assert taken.requests == sum(
        line.amount for line in bill.lines if line.group == "Lambda" and line.unit == "request"
    )
    assert taken.efs_read_gb == next(line.amount for line in bill.lines if (line.group, line.name) == ("EFS", "read"))
    assert sum(by_service(bill.lines).values()) == pytest.approx(bill.total_usd)
    assert list(by_service(bill.lines)) == ["Lambda", "EFS", "DynamoDB", "S3", "CloudWatch"]


def test_tables_have_every_line() -> None:
    bill = make_bill(sample_snapshot().history(), NOW)
    columns = bill_columns(bill.lines)
    assert {len(values) for values in columns.values()} == {len(bill.lines)}
    assert sum(columns["cost ($)"]) == pytest.approx(bill.total_usd)
    assert "in budget" not in bill_columns(idle_cost().lines, briefly=True)
    assert len(stays_columns(bill.kept)["GB"]) == len(bill.kept)


def test_the_curve_ends_at_what_was_spent() -> None:
    snapshot = sample_snapshot(state="cancelled")
    spent = curve(snapshot.rounds, snapshot.tasks)
    assert spent.round_index.tolist() == [1, 2, 3, 4]
    assert spent.before_usd > 0
    assert spent.total_usd[-1] == pytest.approx(snapshot.run.spent_usd)
    assert spent.total_usd[0] == pytest.approx(spent.before_usd + spent.round_usd[0])


def test_the_budget_of_a_running_run() -> None:
    snapshot = sample_snapshot(state="running")
    current = {key: task for key, task in snapshot.tasks.items() if key.round_index == snapshot.run.round_index}
    at_work = [(key, task.attempt) for key, task in current.items() if task.claim is not None]
    run, granted = with_grants(snapshot.run, current, at_work)
    assert granted
    found = budget_of(run, snapshot.tasks, make_bill(snapshot.history(), snapshot.read_at))
    assert found.spent_usd == spent_usd(run, current)
    assert found.held_back_usd == pytest.approx(len(at_work) * attempt_reservation_usd(run, "train"))
    assert found.held_back_usd > found.in_flight_usd > 0
    assert found.share == pytest.approx((found.spent_usd + found.in_flight_usd) / run.settings.max_cost_usd)
    assert found._replace(spent_usd=1e6).share == 1.0


def test_nothing_is_held_back_after_the_end() -> None:
    snapshot = sample_snapshot()
    assert budget_of(snapshot.run, snapshot.tasks, make_bill(snapshot.history(), NOW)).held_back_usd == 0


def test_the_end_follows_from_the_mean_round() -> None:
    snapshot = sample_snapshot(state="running")
    assert snapshot.run.plan is not None
    spent = curve(snapshot.rounds, snapshot.tasks)
    end = expected(snapshot.run, spent)
    assert end is not None
    assert end.usd == pytest.approx(spent.before_usd + spent.round_usd.mean() * snapshot.run.plan.total_rounds)
    assert end.usd > spent.total_usd[-1]
    assert end.budget_ends_at is None
    assert "mean of 4 done, × 6 rounds" in end.how


def test_a_budget_that_will_not_last() -> None:
    snapshot = sample_snapshot(state="running")
    spent = curve(snapshot.rounds, snapshot.tasks)
    settings = replace(snapshot.run.settings, max_cost_usd=float(spent.total_usd[-1]) * 1.05)
    end = expected(replace(snapshot.run, settings=settings), spent)
    assert end is not None
    assert end.budget_ends_at == 5


def test_no_end_without_a_round_or_after_it() -> None:
    fresh, done = sample_snapshot(state="preparing"), sample_snapshot()
    assert expected(fresh.run, curve(fresh.rounds, fresh.tasks)) is None
    assert expected(done.run, curve(done.rounds, done.tasks)) is None
    assert isinstance(curve((), {}), Curve)


def test_estimate_live_and_final_are_told_apart() -> None:
    running, done = sample_snapshot(state="running").run, sample_snapshot().run
    titles = [headline(run, is_cloud=cloud).title for run in (running, done) for cloud in (True, False)]
    assert titles == ["Cost so far, live", "If it ran on Lambda, so far", "Cost, final", "Had it run on Lambda, final"]
    assert "costs nothing" in headline(done, is_cloud=False).text


@pytest.mark.parametrize(
    ("value", "expected"),
    [(408.54, "409"), (1234.0, "1,234"), (1.268, "1.27"), (0.002645, "0.00265"), (3.0, "3"), (0.0, "0")],
)
def test_amounts_in_few_figures(value: float, expected: str) -> None:
    assert amount(value) == expected


def test_the_drawn_curve_begins_before_the_first_round_and_ends_with_the_estimate() -> None:
    snapshot = sample_snapshot(state="running")
    spent = curve(snapshot.rounds, snapshot.tasks)
    end = expected(snapshot.run, spent)
    figure = spent_figure(spent, end, 10.0, LIGHT)
    assert end is not None
    assert figure.data[0]["x"].tolist() == [0, 1, 2, 3, 4]
    assert figure.data[0]["y"][0] == spent.before_usd
    assert figure.data[1]["x"] == [4, 6]
    assert figure.data[1]["y"][1] == end.usd
    assert f"At the end about {usd(end.usd)}." in figure.alt
    assert "shapes" not in figure.layout  # a budget of $10 is far out of sight
    assert "shapes" in spent_figure(spent, end, end.usd * 2, LIGHT).layout


def test_a_long_curve_is_thinned_and_its_table_is_not() -> None:
    rounds = np.arange(1, 5001)
    cost = np.full(5000, 0.001)
    figure = spent_figure(Curve(rounds, cost, np.cumsum(cost), 0.0), None, 10.0, LIGHT)
    assert (figure.shown_points, figure.all_points) == (1000, 5000)
    assert figure.data[0]["x"][[1, -1]].tolist() == [1, 5000]
    assert len(figure.table()["round"]) == 5000


def test_machines_are_drawn_beside_the_run() -> None:
    bill = make_bill(sample_snapshot().history(), NOW)
    figure = machines_figure(bill, DARK)
    assert [trace["name"] for trace in figure.data] == ["on demand", "Lambda: this run", "reserved", "spot"]
    assert figure.data[0]["x"] == [machine.on_demand_usd for machine in bill.machines]
    assert usd(bill.total_usd) in figure.alt
    assert set(figure.table()["machine"]) == {"t2.xlarge", "c7i.xlarge", "p4d.24xlarge"}


@pytest.mark.parametrize(
    ("gb_hours", "text"), [(12.5, "12.5 GB-hours"), (0.0123, "12.3 MB-hours"), (2e-5, "< 0.1 MB-hours")]
)
def test_what_was_stored_for_a_moment_can_be_read(gb_hours: float, text: str) -> None:
    assert stored(gb_hours) == text
