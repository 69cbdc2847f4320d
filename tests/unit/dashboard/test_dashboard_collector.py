"""One collector a process: each thing read once, in few threads, bounded, with numbered errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from counted_store import Clock, CountedStore
from dashboard_samples import SHAPE, make_sample, open_files, sample_home, sample_source
from msgspec.structs import replace

from benchmarks.recorded_run import LiveRun
from contracts.errors import InvalidRunId, RunNotFound, StoreCorrupted
from contracts.stack_errors import AwsUnreachable, RunOfOtherStack
from dashboard.options import Options
from dashboard.queries import collector as collector_module
from dashboard.queries.collector import Collector
from dashboard.queries.run_reader import LATE_S, PREDICTIONS_S
from dashboard.queries.source import open_source
from fakes.dynamodb_table import TABLE, dynamodb_table
from runs.bill import make_bill
from runs.summary import load
from stores.dynamodb import DynamoStore

RUN = SHAPE.run_id


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> CountedStore:
    return CountedStore()


@pytest.fixture
def collector(store: CountedStore, clock: Clock) -> Iterator[Collector]:
    made = Collector(sample_source(store), clock)
    yield made
    made.close()


# --- reading what is new ---


def test_within_a_second_nothing_is_read_again(store: CountedStore, collector: Collector, clock: Clock) -> None:
    make_sample(store, state="running")
    one, listed = collector.look(RUN), collector.runs()
    store.calls.clear()
    clock.now += 0.9
    assert collector.look(RUN) is one
    assert collector.runs() is listed
    assert store.calls == []
    clock.now += 0.2
    collector.look(RUN)
    assert "run" in store.calls


def test_a_clock_that_is_put_back_does_not_stop_the_reading(
    store: CountedStore, collector: Collector, clock: Clock
) -> None:
    make_sample(store, state="running")
    collector.look(RUN)
    store.calls.clear()
    clock.now -= 3_600
    collector.look(RUN)
    assert "run" in store.calls


def test_a_look_brings_only_what_is_new(store: CountedStore, collector: Collector, clock: Clock) -> None:
    made = make_sample(store, state="running")
    first = collector.look(RUN)
    assert store.batches == 4 * 4 * 4 + 4 * 2  # 4 rounds of 4 workers in 4 batches each, and half a round
    store.batches, store.calls = 0, []
    clock.now += 2
    made.put_steps(made._tasks[next(key for key in made._tasks if key.kind == "train")], 10, 15, made.now)
    second = collector.look(RUN)
    assert store.batches == 1
    assert second.revision > first.revision
    assert second.first_changed_column(first.revision) == 90
    assert [call for call in store.calls if call.startswith("tasks")] == ["tasks 5"]


def test_nothing_new_is_no_new_revision(store: CountedStore, collector: Collector, clock: Clock) -> None:
    make_sample(store, state="running")
    first, listed = collector.look(RUN), collector.runs()
    clock.now += 2
    second = collector.look(RUN)
    assert (second.revision, second.read_at) == (first.revision, first.read_at + 2)
    assert collector.runs().revision == listed.revision


@pytest.mark.parametrize("what", ["task", "round", "spans", "predictions", "conducted"])
def test_whatever_changes_is_a_new_revision(store: CountedStore, clock: Clock, what: str) -> None:
    made = make_sample(store, state="running")
    working: set[str] = {RUN}
    collector = Collector(sample_source(store, conducted=lambda runs: frozenset(working)), clock)
    first, listed = collector.look(RUN), collector.runs()
    task = next(task for task in made._tasks.values() if task.key.kind == "train")
    match what:
        case "task":
            made._keep(replace(task, version=task.version + 1, offers=9))
        case "round":
            for key in [key for key in made._tasks if key.kind == "train"]:
                made.report(made._tasks[key], made.now, made.now + 1)
            made.commit()
        case "spans":
            store.put_spans(RUN, first.spans[0])
        case "predictions":
            store.put_predictions(RUN, first.predictions[0])
        case "conducted":
            working.clear()
    clock.now += 2
    assert collector.look(RUN).revision > first.revision
    assert (collector.runs().revision > listed.revision) == (what in ("round", "conducted"))


def test_an_ended_run_is_read_to_its_end_and_then_left_alone(
    store: CountedStore, collector: Collector, clock: Clock
) -> None:
    made = make_sample(store)
    clock.now = made.run.ended_at + 1
    collector.look(RUN)
    clock.now += LATE_S
    store.calls.clear()
    collector.look(RUN)
    assert "steps" in store.calls
    clock.now += 2
    store.calls.clear()
    collector.look(RUN)
    assert store.calls == ["run"]
    store.save_run(replace(made.run, version=made.run.version + 1, status="RUNNING", ended_at=0.0))  # resumed
    clock.now += 2
    collector.look(RUN)
    assert "steps" in store.calls


def test_a_stack_is_asked_for_predictions_now_and_then(store: CountedStore, clock: Clock) -> None:
    make_sample(store, state="running")
    collector = Collector(sample_source(store, is_cloud=True), clock)
    for _ in range(5):
        collector.look(RUN)
        clock.now += PREDICTIONS_S / 4
    assert store.calls.count("steps") == 5
    assert store.calls.count("predictions") == 2


def test_a_round_that_is_over_is_read_once_more(store: CountedStore, collector: Collector, clock: Clock) -> None:
    made = make_sample(store, state="preparing")
    collector.look(RUN)
    made.begin()
    for _ in range(3):
        made.do_round()
        clock.now += 2
        store.calls.clear()
        snapshot = collector.look(RUN)
        here = made.run.round_index
        assert [call for call in store.calls if call.startswith("tasks")][-2:] == [f"tasks {here - 1}", f"tasks {here}"]
        assert {key.round_index for key in snapshot.tasks} == set(range(here))
        assert dict(snapshot.tasks) == {key: task for (_, key), task in store.tasks.items()}


# --- bounds ---


def test_only_the_runs_looked_at_last_are_kept(store: CountedStore, clock: Clock) -> None:
    names = [f"r-many{number:06d}" for number in range(5)]
    for name in names:
        make_sample(store, SHAPE._replace(run_id=name, workers=1, rounds=1))
    collector = Collector(sample_source(store), clock, kept_runs=3)
    revisions = [collector.look(name).revision for name in names]
    assert sorted(collector._readers) == sorted(collector._runs) == names[2:]
    again = collector.look(names[0])
    # One that is read anew has a revision that nobody has seen, and says that all of it may have changed.
    assert again.revision > max(revisions)
    assert again.first_changed_column(revisions[0]) == 0


def test_two_hundred_threads_share_a_few_connections(tmp_path: Path) -> None:
    names = [sample_home(tmp_path, run_id=f"r-shared{number:04d}") for number in range(3)]
    collector = Collector(open_source(Options(home=str(tmp_path))), least_s=0.0)
    collector.runs()
    collector.look(names[0])
    before, threads = open_files(), threading.active_count()
    barrier = threading.Barrier(200)

    def session(number: int) -> int:
        barrier.wait(timeout=60)
        collector.runs()
        collector.find("latest")
        return collector.look(names[number % 3]).columns

    with ThreadPoolExecutor(200) as sessions:
        assert set(sessions.map(session, range(200))) == {120}
    assert open_files() <= before
    assert threading.active_count() <= threads
    collector.close()


def test_a_growing_run_is_followed_step_by_step(tmp_path: Path, clock: Clock) -> None:
    with LiveRun(tmp_path, SHAPE._replace(rounds=3), clock=clock) as live:
        collector = Collector(open_source(Options(home=str(tmp_path))), clock, least_s=0.0)
        columns, revision = [], 0
        while live.made.run.phase == "TRAINING":
            clock.now += 1
            live.advance(7)
            snapshot = collector.look(live.run_id)
            assert snapshot.conducted
            assert snapshot.revision > revision
            assert snapshot.newest_at == pytest.approx(clock.now, abs=0.5)
            columns.append(snapshot.columns)
            revision = snapshot.revision
        assert columns == [7, 14, 21, 28, 35, 42, 49, 56, 60]
        live.finish()
        assert collector.look(live.run_id).run.status == "FINISHED"
    collector.close()


def test_a_stack_is_followed_by_the_same_queries(clock: Clock) -> None:
    with dynamodb_table() as client:
        store = DynamoStore(TABLE, client)
        shape = SHAPE._replace(workers=2, rounds=4, steps_per_round=10, troubles=True)
        made = make_sample(store, shape, "preparing")
        collector = Collector(sample_source(store, is_cloud=True, readers=4), clock)
        assert collector.look(RUN).columns == 0
        made.begin()
        for done in range(1, 5):
            made.do_round()
            clock.now += PREDICTIONS_S
            assert collector.look(collector.find("latest")).columns == 10 * done
        made.finish()
        clock.now = made.run.ended_at + 3_600
        followed = collector.look(RUN)
        at_once = Collector(sample_source(store, is_cloud=True), clock).look(RUN)
        for one, two in zip(followed.steps, at_once.steps, strict=True):
            np.testing.assert_array_equal(one, two)
        assert dict(followed.tasks) == dict(at_once.tasks)
        assert followed.rounds == at_once.rounds
        assert set(map(str, followed.spans)) == set(map(str, at_once.spans))
        assert followed.predictions == at_once.predictions
        assert make_bill(followed.history(), clock.now) == make_bill(load(store, store, RUN), clock.now)
        collector.close()


# --- what goes wrong ---


def test_a_run_that_is_deleted_while_it_is_looked_at(store: CountedStore, collector: Collector, clock: Clock) -> None:
    make_sample(store)
    collector.look(RUN)
    store.delete_run(RUN)
    clock.now += 2
    with pytest.raises(RunNotFound, match=RUN):
        collector.look(RUN)
    assert not collector._readers
    assert not collector._runs


def test_a_run_that_takes_the_place_of_a_deleted_one(store: CountedStore, collector: Collector, clock: Clock) -> None:
    make_sample(store)
    old = collector.look(RUN)
    store.delete_run(RUN)
    make_sample(store, SHAPE._replace(rounds=2, started_at=SHAPE.started_at + 60))
    clock.now += 2
    new = collector.look(RUN)
    assert (old.columns, new.columns) == (120, 40)
    assert new.first_changed_column(old.revision) == 0


def test_an_error_is_told_to_everybody_and_tried_again_later(
    store: CountedStore, collector: Collector, clock: Clock
) -> None:
    make_sample(store, state="running")
    before = collector.look(RUN)
    store.error = AwsUnreachable("stack lambdafit", "no route")
    clock.now += 2
    store.calls.clear()
    for _ in range(3):
        with pytest.raises(AwsUnreachable):
            collector.look(RUN)
    assert store.calls == ["run"]
    store.error = None
    clock.now += 2
    assert collector.look(RUN).revision == before.revision


def test_nothing_is_lost_when_a_look_breaks_off(
    store: CountedStore, collector: Collector, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_sample(store, state="running")
    before = collector.look(RUN)
    task = next(task for task in made._tasks.values() if task.key.kind == "train")
    made.put_steps(task, 10, 15, made.now)
    with monkeypatch.context() as broken:
        broken.setattr(store, "read_spans", lambda *_: (_ for _ in ()).throw(AwsUnreachable("stack", "no route")))
        clock.now += 2
        with pytest.raises(AwsUnreachable):
            collector.look(RUN)
    clock.now += 2
    after = collector.look(RUN)
    assert after.revision > before.revision
    assert after.first_changed_column(before.revision) == 90


def test_a_home_without_runs_stays_as_it_is(tmp_path: Path) -> None:
    collector = Collector(open_source(Options(home=str(tmp_path / "home"))))
    assert collector.runs().runs == ()
    with pytest.raises(RunNotFound, match="lambdafit train"):
        collector.find("latest")
    with pytest.raises(RunNotFound):
        collector.look("r-0000000000")
    assert list(tmp_path.iterdir()) == []
    collector.close()


def test_a_home_that_comes_goes_and_comes_again(tmp_path: Path, clock: Clock) -> None:
    home, away = tmp_path / "home", tmp_path / "away"
    collector = Collector(open_source(Options(home=str(home))), clock, least_s=0.0)
    assert collector.runs().runs == ()
    first = sample_home(home)
    assert [run.run_id for run in collector.runs().runs] == [first]
    assert collector.look(first).columns == 120
    home.rename(away)
    assert collector.runs().runs == ()
    with pytest.raises(RunNotFound):
        collector.look(first)
    second = sample_home(home, run_id="r-another001")
    assert [run.run_id for run in collector.runs().runs] == [second]
    collector.close()


def test_a_store_that_gets_damaged_is_a_numbered_error_and_leaks_nothing(tmp_path: Path, clock: Clock) -> None:
    run_id = sample_home(tmp_path)
    collector = Collector(open_source(Options(home=str(tmp_path))), clock, least_s=0.0)
    collector.look(run_id)
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"runs.db{suffix}").unlink(missing_ok=True)
    (tmp_path / "runs.db").write_bytes(b"no database at all " * 100)
    before = open_files()
    for _ in range(20):
        with pytest.raises(StoreCorrupted, match=r"runs\.db"):
            collector.look(run_id)
        with pytest.raises(StoreCorrupted):
            collector.runs()
    assert open_files() <= before
    collector.close()


# --- names ---


def test_runs_are_found_as_on_the_command_line(
    store: CountedStore, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name in enumerate(("r-aaaa000001", "r-aaaa000002", "r-bbbb000001")):
        make_sample(store, SHAPE._replace(run_id=name, started_at=SHAPE.started_at + place), "pending")
    assert collector.find("latest") == "r-bbbb000001"
    assert collector.find("r-aaaa000001") == "r-aaaa000001"
    assert collector.find("r-b") == collector.find("bbbb") == "r-bbbb000001"
    with pytest.raises(InvalidRunId, match="the beginning of 2 runs"):
        collector.find("r-aaaa")
    with pytest.raises(InvalidRunId):
        collector.find("../etc")
    with pytest.raises(RunNotFound, match=r"r-cccc.*/home/user"):
        collector.find("r-cccc")
    # Beyond those that are listed, too.
    monkeypatch.setattr(collector_module, "LISTED_RUNS", 1)
    few = Collector(sample_source(store, missing=RunOfOtherStack))
    assert len(few.runs().runs) == 1
    assert few.find("r-aaaa000001") == "r-aaaa000001"
    with pytest.raises(InvalidRunId, match="the beginning of 2 runs"):
        few.find("r-aaaa")
    with pytest.raises(RunOfOtherStack):
        few.find("r-cccc")
    with pytest.raises(RunOfOtherStack):
        few.look("r-cccc")
    few.close()


def test_what_is_no_id_is_never_looked_for(store: CountedStore, collector: Collector) -> None:
    with pytest.raises(InvalidRunId):
        collector.look("../../etc/passwd")
    assert store.calls == []
