"""`runs …`, `watch` and how RUN is understood."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import RunsInStore, failed, finished, interrupted, last_line
from msgspec.structs import replace

from cli.flags import RUN_ANSWER_KEYS
from contracts.errors import NotFinite
from contracts.records import Run
from engines.home import Home, HomeLock


def pending(run: Run) -> Run:
    return run


@pytest.fixture
def conducted(home: Path) -> HomeLock:
    """An engine that works on r-0001."""
    lock = HomeLock(Home(home))
    lock.acquire("run r-0001")
    return lock


# --- which run is meant ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["r-00a1", "r-00a", "00a", "latest", "r-00a1"])
def test_a_run_is_found_by_id_prefix_and_latest(invoke: Any, stored: RunsInStore, name: str) -> None:
    stored.add("r-00b1", created_at=1.0)
    stored.add("r-00a1", created_at=2.0)
    assert last_line(invoke("runs", "show", name, "--json"))["run_id"] == "r-00a1"


def test_a_whole_id_is_never_ambiguous(invoke: Any, stored: RunsInStore) -> None:
    stored.add("r-00a1")
    stored.add("r-00a1b")
    assert last_line(invoke("runs", "show", "r-00a1", "--json"))["run_id"] == "r-00a1"


def test_an_ambiguous_prefix_names_the_candidates(invoke: Any, stored: RunsInStore) -> None:
    for index in range(12):
        stored.add(f"r-00a{index:02d}", created_at=float(index))
    result = invoke("runs", "show", "r-00a")
    assert result.exit_code == 3
    assert "E108 InvalidRunId: run: 'r-00a' is the beginning of 12 runs: r-00a11, r-00a10" in result.stderr
    assert "and 4 more" in result.stderr


@pytest.mark.parametrize("name", ["../x", "r-1/..", "R-1", "r-0001 ", "", "*", "r-" + "a" * 40])
def test_what_cannot_be_a_run_is_refused(invoke: Any, stored: RunsInStore, name: str) -> None:
    for command in (["runs", "show"], ["runs", "stop"], ["runs", "rm", "-y"], ["logs"], ["watch"], ["evaluate"]):
        result = invoke(*command, name)
        assert result.exit_code == 3
        assert "E108 InvalidRunId" in result.stderr


@pytest.mark.parametrize("name", ["latest", "r-ffff"])
@pytest.mark.parametrize("command", ["show", "stop", "resume", "rm"])
def test_a_run_that_is_not_there(invoke: Any, home: Path, command: str, name: str) -> None:
    result = invoke("runs", command, name)
    assert result.exit_code == 3
    assert "E304 RunNotFound" in result.stderr
    assert not home.exists()


# --- list --------------------------------------------------------------------------------------------------


def test_an_empty_list_says_how_to_begin(invoke: Any, home: Path) -> None:
    result = invoke("runs", "list")
    assert result.exit_code == 0
    assert result.stdout.strip() == "No runs yet. Start one: lambdafit train digits-mlp"
    assert last_line(invoke("runs", "list", "--json")) == {"runs": []}
    assert not home.exists()


def test_the_list_tells_states_apart(invoke: Any, stored: RunsInStore, conducted: HomeLock) -> None:
    stored.add("r-0001", interrupted, created_at=5.0)
    stored.add("r-0002", interrupted, created_at=4.0)
    stored.add("r-0003", finished, created_at=3.0)
    stored.add("r-0004", failed(NotFinite("run", "nan")), created_at=2.0)
    stored.add("r-0005", pending, created_at=1.0)
    runs = last_line(invoke("runs", "list", "--json"))["runs"]
    states = [run["state"] for run in runs]
    assert states == ["running", "interrupted", "finished", "failed", "not started"]
    lines = invoke("runs", "list").stdout.splitlines()
    assert lines[0].split()[:3] == ["run", "recipe", "state"]
    assert [line.split()[2] for line in lines[2:6]] == ["running", "interrupted", "finished", "failed"]


def test_the_list_is_cut_to_the_newest(invoke: Any, stored: RunsInStore) -> None:
    for index in range(5):
        stored.add(f"r-000{index}", created_at=float(index))
    runs = last_line(invoke("runs", "list", "--limit", "2", "--json"))["runs"]
    assert [run["run_id"] for run in runs] == ["r-0004", "r-0003"]


# --- show --------------------------------------------------------------------------------------------------


def test_show_tells_settings_rounds_workers_and_time(invoke: Any, stored: RunsInStore) -> None:
    stored.add()
    stored.add_history()
    text = invoke("runs", "show", "latest").stdout
    for part in (
        "digits-mlp  r-0001  finished: all epochs done after 12.5 s",
        "batch a worker",
        "Rounds",
        "Workers",
        "Tasks",
        "Where the time went  2 functions side by side for 12.5 s",
        "compute",
        "tensorflow 2.21.0",
    ):
        assert part in text


def test_show_cuts_the_rounds(invoke: Any, stored: RunsInStore) -> None:
    stored.add()
    stored.add_history()
    assert "the last 1 of 2" in invoke("runs", "show", "latest", "--rounds", "1").stdout
    assert "the last" not in invoke("runs", "show", "latest", "--rounds", "all").stdout
    assert invoke("runs", "show", "latest", "--rounds", "some").exit_code == 2


def test_show_as_json_has_every_key(invoke: Any, stored: RunsInStore) -> None:
    stored.add("r-0001", interrupted)
    found = last_line(invoke("runs", "show", "latest", "--json"))
    assert tuple(found) == RUN_ANSWER_KEYS
    assert (found["status"], found["reason"]) == ("RUNNING", "interrupted")


def test_show_of_a_failed_run_names_the_error_and_the_way_on(invoke: Any, stored: RunsInStore) -> None:
    stored.add("r-0001", failed(NotFinite("run r-0001 round 3 worker 1", "the loss is nan")))
    result = invoke("runs", "show", "latest")
    assert result.exit_code == 0
    assert "E201 NotFinite: run r-0001 round 3 worker 1: the loss is nan." in result.stderr
    assert "lambdafit runs resume r-0001" in result.stdout


def test_show_of_a_run_that_has_not_begun(invoke: Any, stored: RunsInStore) -> None:
    stored.add("r-0001", pending)
    assert "not started" in invoke("runs", "show", "latest").stdout


# --- stop --------------------------------------------------------------------------------------------------


def test_stop_cancels_a_run_that_another_process_conducts(
    invoke: Any, stored: RunsInStore, conducted: HomeLock
) -> None:
    stored.add("r-0001", interrupted)
    result = invoke("runs", "stop", "latest")
    assert result.exit_code == 0
    assert "r-0001 is stopped" in result.stdout
    run = stored.store.load_run("r-0001")
    assert (run.status, run.error.number if run.error else "") == ("CANCELLED", "E503")


def test_stop_leaves_an_ended_run_as_it_is(invoke: Any, stored: RunsInStore) -> None:
    before = stored.add("r-0001", finished)
    result = invoke("runs", "stop", "latest")
    assert result.exit_code == 0
    assert "had ended before" in result.stdout
    assert stored.store.load_run("r-0001") == before


# --- rm ----------------------------------------------------------------------------------------------------


def add_files(stored: RunsInStore, run_id: str) -> None:
    stored.files.write(f"runs/{run_id}/model.keras", [b"x"], durable=False)
    stored.log(run_id, "train-01", "hello\n")


def left(stored: RunsInStore, run_id: str) -> list[str]:
    """What there still is of a run."""
    there = {
        "records": any(run.run_id == run_id for run in stored.store.list_runs()),
        "files": stored.files.exists(f"runs/{run_id}"),
        "logs": stored.home.log_folder(run_id).exists(),
    }
    return [name for name, exists in there.items() if exists]


def test_rm_removes_records_files_and_logs(invoke: Any, stored: RunsInStore) -> None:
    for run_id in ("r-0001", "r-0002"):
        stored.add(run_id)
        add_files(stored, run_id)
    result = invoke("runs", "rm", "r-0001", "-y")
    assert result.exit_code == 0
    assert result.stdout.strip() == "Removed r-0001."
    assert left(stored, "r-0001") == []
    assert left(stored, "r-0002") == ["records", "files", "logs"]


@pytest.mark.parametrize(("said", "gone"), [("y\n", True), ("n\n", False), ("", False)])
def test_rm_asks(invoke: Any, stored: RunsInStore, said: str, gone: bool) -> None:
    stored.add("r-0001")
    result = invoke("runs", "rm", "latest", stdin=said)
    assert "Remove 1 run" in result.output
    assert (left(stored, "r-0001") == []) is gone
    assert result.exit_code == (0 if gone else 130)


def test_rm_of_all_finished_leaves_the_others(invoke: Any, stored: RunsInStore) -> None:
    stored.add("r-0001", finished)
    stored.add("r-0002", interrupted)
    stored.add("r-0003", finished)
    assert invoke("runs", "rm", "--all-finished", "-y").exit_code == 0
    assert [run.run_id for run in stored.store.list_runs()] == ["r-0002"]
    assert "nothing to remove" in invoke("runs", "rm", "--all-finished", "-y").stdout


def test_rm_refuses_a_run_that_is_being_trained(invoke: Any, stored: RunsInStore, conducted: HomeLock) -> None:
    stored.add("r-0001", interrupted)
    stored.add("r-0002", finished)
    result = invoke("runs", "rm", "r-0001", "r-0002", "-y")
    assert result.exit_code == 3
    assert "E301 HomeInUse: run r-0001: it is being trained by process" in result.stderr
    assert "lambdafit runs stop r-0001" in result.stderr
    assert len(stored.store.list_runs()) == 2
    assert invoke("runs", "rm", "r-0002", "-y").exit_code == 0


def test_rm_takes_away_what_another_one_left(invoke: Any, stored: RunsInStore) -> None:
    add_files(stored, "r-0001")
    assert invoke("runs", "rm", "r-0001", "-y").exit_code == 0
    assert left(stored, "r-0001") == []
    stored.add("r-0002")
    assert invoke("runs", "rm", "r-0002", "-y").exit_code == 0


def test_rm_of_nothing_is_a_usage_error(invoke: Any) -> None:
    assert invoke("runs", "rm").exit_code == 2


# --- watch -------------------------------------------------------------------------------------------------


def test_watch_of_an_ended_run_shows_its_end(invoke: Any, stored: RunsInStore) -> None:
    stored.add("r-0001", finished)
    result = invoke("watch", "latest", "--json")
    assert result.exit_code == 0
    assert last_line(result)["test_accuracy"] == 0.94
    stored.add("r-0002", failed(NotFinite("run", "nan")), created_at=2_000.0)
    assert invoke("watch", "latest").exit_code == 1


def test_watch_notices_that_nobody_conducts_the_run(
    invoke: Any, stored: RunsInStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.watch_run.GRACE_S", 0.0)
    stored.add("r-0001", interrupted)
    result = invoke("watch", "latest")
    assert result.exit_code == 130
    assert "lambdafit runs resume r-0001" in result.stderr


def test_watch_follows_to_the_end(
    invoke: Any, stored: RunsInStore, conducted: HomeLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.add("r-0001", interrupted)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            run = stored.store.load_run("r-0001")
            assert stored.store.save_run(replace(finished(run), version=run.version + 1))

    monkeypatch.setattr(time, "sleep", sleep)
    result = invoke("watch", "latest")
    assert result.exit_code == 0
    assert len(slept) == 3
    assert min(slept) >= 0.5, "the store is asked at most twice a second"


def test_ctrl_c_ends_the_watching_only(
    invoke: Any, stored: RunsInStore, conducted: HomeLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    stored.add("r-0001", interrupted)
    monkeypatch.setattr(time, "sleep", interrupt)
    result = invoke("watch", "latest")
    assert result.exit_code == 130
    assert "r-0001 goes on" in result.stderr
    assert stored.store.load_run("r-0001").status == "RUNNING"
