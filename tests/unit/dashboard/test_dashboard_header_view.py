"""The line over every page."""

from __future__ import annotations

import pytest
from dashboard_samples import sample_snapshot
from msgspec.structs import replace

from dashboard.views.header import elapsed_s, facts


def test_a_run_that_goes_on_counts_and_says_how_old_its_news_are() -> None:
    snapshot = sample_snapshot(state="running")
    line = facts(snapshot, snapshot.newest_at + 3.0)
    assert (line.status, line.sign, line.counting) == ("running", "▶", True)
    assert line.age_s == pytest.approx(3.0)
    assert line.elapsed_s == pytest.approx(snapshot.newest_at + 3.0 - snapshot.run.started_at)
    assert line.round == f"{len(snapshot.rounds)} of 6"
    assert line.cost.startswith("$") and line.quality.startswith("validation accuracy 0.")


@pytest.mark.parametrize(
    ("state", "status"), [("finished", "finished"), ("failed", "failed"), ("cancelled", "stopped")]
)
def test_an_ended_run_stands_still(state: str, status: str) -> None:
    snapshot = sample_snapshot(state=state)  # type: ignore[arg-type]
    line = facts(snapshot, snapshot.newest_at + 500.0)
    assert (line.status, line.counting) == (status, False)
    assert line.elapsed_s == pytest.approx(snapshot.run.ended_at - snapshot.run.started_at)


def test_a_run_that_nobody_works_at_is_interrupted_and_stands_still() -> None:
    snapshot = sample_snapshot(state="running")._replace(conducted=False)
    line = facts(snapshot, snapshot.newest_at + 500.0)
    assert (line.status, line.sign, line.counting) == ("interrupted", "‖", False)
    assert line.elapsed_s == pytest.approx(snapshot.newest_at - snapshot.run.started_at)


def test_the_time_between_a_stop_and_a_resumption_does_not_count() -> None:
    snapshot = sample_snapshot(state="finished")
    whole_s = elapsed_s(snapshot, 0.0)
    paused_s = 7_200.0
    last = replace(snapshot.rounds[-1], committed_at=snapshot.rounds[-1].committed_at + paused_s)
    run = replace(snapshot.run, ended_at=snapshot.run.ended_at + paused_s)
    later = snapshot._replace(run=run, rounds=(*snapshot.rounds[:-1], last))
    assert elapsed_s(later, 0.0) < whole_s + 60.0


def test_blocks_of_features_are_counted() -> None:
    snapshot = sample_snapshot(state="running")
    facts_of_data = {"train_examples": 256, "val_examples": 128, "test_examples": 128}
    run = replace(snapshot.run, phase="EXTRACTING", round_index=0, data_facts=facts_of_data)
    line = facts(snapshot._replace(run=run, told_blocks={0: 1}), snapshot.newest_at)
    assert line.doing == "computing the backbone's outputs, 1 of 4 blocks"


def test_a_run_that_has_not_begun_shows_dashes() -> None:
    snapshot = sample_snapshot(state="pending")
    line = facts(snapshot, snapshot.read_at)
    assert (line.round, line.epoch, line.quality, line.elapsed_s) == ("–", "–", "", 0.0)
