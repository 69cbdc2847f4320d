"""The made runs that the dashboard is measured with: the same every time, and whole."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from dashboard_samples import SHAPE, make_sample

from benchmarks import recorded_run
from benchmarks.recorded_run import LiveRun, record
from contracts.errors import HomeInUse
from contracts.records import Run
from dashboard.options import Options
from dashboard.queries.source import open_source
from engines.home import Home, HomeLock
from fakes.memory_store import MemoryStore
from runs.summary import RunHistory, load


def history(folder: Path, run_id: str) -> RunHistory:
    source = open_source(Options(home=str(folder)))
    found = load(source.store, source.telemetry, run_id)
    source.close()
    return found


def test_the_same_shape_records_the_same_run(tmp_path: Path) -> None:
    shape = SHAPE._replace(troubles=True)
    one, two = (history(tmp_path / name, record(tmp_path / name, shape)) for name in ("one", "two"))
    assert one == two


def test_a_recorded_run_has_everything(tmp_path: Path) -> None:
    found = history(tmp_path, record(tmp_path, SHAPE._replace(troubles=True)))
    assert (found.run.status, found.run.round_index, len(found.rounds)) == ("FINISHED", 7, 6)
    assert {task.key.kind for task in found.tasks} >= {"prepare", "initialise", "train", "combine", "evaluate", "clear"}
    outcomes = [record.outcome for task in found.tasks for record in task.history]
    assert {name: outcomes.count(name) for name in set(outcomes)} == {
        "done": len(found.tasks), "paused": 1, "lost": 1, "superseded": 1,
    }  # fmt: skip
    names = {span.name for batch in found.spans for span in batch.spans}
    assert names == {
        "init",
        "prepare",
        "build",
        "load",
        "assign",
        "evaluate",
        "compute",
        "write",
        "wait",
        "combine",
        "clear",
    }
    assert found.rounds[-1].metrics["train/loss"] < found.rounds[0].metrics["train/loss"] / 2
    assert found.run.validation["val/accuracy"] > 0.7
    assert found.run.spent_usd > 0


def test_predictions_have_pictures_once_a_sample() -> None:
    store = MemoryStore()
    make_sample(store)
    batches, _ = store.read_predictions(SHAPE.run_id)
    with_pictures = {batch.parameters_round for batch in batches if batch.images}
    assert with_pictures == {2}
    assert {batch.parameters_round for batch in batches} == {2, 4}
    assert all(image.startswith(b"\x89PNG") for batch in batches for image in batch.images)


def test_a_live_run_holds_its_home_and_comes_to_its_end(tmp_path: Path) -> None:
    with LiveRun(tmp_path, SHAPE._replace(rounds=2), rounds_done=1) as live:
        with pytest.raises(HomeInUse, match=live.run_id):
            HomeLock(Home(tmp_path)).acquire("another")
        assert live.advance(15) == 15
        assert live.advance(15) == 5
        assert live.advance(15) == 0
        live.finish()
    found: Run = history(tmp_path, live.run_id).run
    assert found.status == "FINISHED"


def test_the_program_says_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path), "--workers", "2", "--steps", "40", "--rounds", "4", "--rounds-done", "3"]
    monkeypatch.setattr(sys, "argv", ["recorded_run.py", *arguments])
    recorded_run.main()
    assert "2 workers × 40 steps" in capsys.readouterr().out
    assert history(tmp_path, "r-made000001").run.status == "RUNNING"
