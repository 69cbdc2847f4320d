"""What a run did, computed from its records alone; and its curves."""

from __future__ import annotations

import pytest
from cli_helpers import RunsInStore, interrupted
from msgspec.structs import replace

from contracts.records import AttemptRecord, Run, Span, SpanBatch, StepBatch, Task, TaskKey
from runs.curves import round_points, step_points
from runs.summary import IDLE, RunHistory, load, merged, summarise


@pytest.fixture
def history(stored: RunsInStore) -> RunHistory:
    stored.add()
    stored.add_history()
    return load(stored.store, stored.store, "r-0001")


def test_workers_are_counted(history: RunHistory) -> None:
    summary = summarise(history, now=9_999.0)
    first, second = summary.workers
    assert (first.attempts, first.pauses, first.failures, first.examples) == (2, 0, 0, 50)
    assert (second.attempts, second.pauses, second.failures, second.examples) == (4, 1, 1, 50)
    assert (first.steps, first.steps_per_s) == (8, pytest.approx(10.0))
    assert first.span_s == {"load": 0.5, "compute": 1.5}
    assert summary.kinds["train"].attempts == 6
    assert list(summary.kinds) == ["train"]


def test_rounds_take_from_the_first_claim_to_the_commit(history: RunHistory) -> None:
    assert summarise(history, now=9_999.0).round_s == {1: 4.0, 2: 4.0}


def test_the_time_is_shared_out_among_what_runs_side_by_side(history: RunHistory) -> None:
    summary = summarise(history, now=9_999.0)
    assert summary.elapsed_s == 12.5
    found = {part.name: part.seconds for part in summary.time}
    assert found == {"load": 1.0, "compute": 3.0, IDLE: 21.0}
    assert sum(part.share for part in summary.time) == pytest.approx(1.0)
    assert [part.name for part in summary.time] == ["load", "compute", IDLE]


def test_more_recorded_than_there_was_time_leaves_nothing_idle(history: RunHistory) -> None:
    batch = SpanBatch(
        key=TaskKey(round_index=1, kind="combine", generation=1),
        attempt=1,
        request_id="x",
        spans=(Span(name="combine", start_s=0.0, end_s=100.0),),
    )
    summary = summarise(replace_history(history, spans=[*history.spans, batch]), now=9_999.0)
    assert sum(part.share for part in summary.time) == pytest.approx(1.0)
    assert IDLE not in [part.name for part in summary.time]


def replace_history(history: RunHistory, **changes: object) -> RunHistory:
    values = {name: getattr(history, name) for name in ("run", "tasks", "rounds", "spans", "steps")}
    return RunHistory(**(values | changes))  # type: ignore[arg-type]


def run_with(started_at: float, ended_at: float, run: Run) -> Run:
    return replace(run, started_at=started_at, ended_at=ended_at)


def attempt(started_at: float, ended_at: float, outcome: str = "done") -> Task:
    record = AttemptRecord(
        attempt=1, nonce="0" * 8, outcome=outcome, started_at=started_at, ended_at=ended_at, cost_usd=0.0
    )
    return Task(key=TaskKey(round_index=1, kind="train", index=0), history=(record,))


def elapsed_s(history: RunHistory, started_at: float, ended_at: float, tasks: list[Task], now: float = 1e6) -> float:
    run = run_with(started_at, ended_at, history.run)
    return summarise(RunHistory(run, tasks, [], [], []), now).elapsed_s


def test_time_in_which_nobody_conducted_the_run_does_not_count(history: RunHistory) -> None:
    overnight = [attempt(0.5, 10.0), attempt(40_000.0, 40_010.0)]
    assert elapsed_s(history, 0.001, 40_010.0, overnight) == pytest.approx(20.0, abs=0.01)


def test_short_silences_count(history: RunHistory) -> None:
    assert elapsed_s(history, 0.001, 60.0, [attempt(10.0, 20.0), attempt(50.0, 60.0)]) == pytest.approx(60.0, abs=0.01)


def test_a_lost_attempt_counts_as_far_as_its_steps_tell(history: RunHistory) -> None:
    lost = [attempt(1.0, 900.0, "lost")]
    steps = StepBatch(
        worker_index=0, round_index=1, attempt=1, first_step=0, ended_at=31.0, losses=(1.0,), examples=(8,),
        durations_ms=(30_000.0,),
    )  # fmt: skip
    run = run_with(0.001, 40_000.0, history.run)
    assert summarise(RunHistory(run, lost, [], [], [steps]), 1e6).elapsed_s == pytest.approx(31.0, abs=0.01)


def test_a_run_that_goes_on_is_cut_off_at_the_present(history: RunHistory) -> None:
    assert elapsed_s(history, 0.001, 0.0, [attempt(1.0, 10.0)], now=15.0) == pytest.approx(15.0, abs=0.01)
    assert elapsed_s(history, 0.001, 0.0, [attempt(1.0, 10.0)], now=5_000.0) == pytest.approx(10.0, abs=0.01)


def test_a_run_that_has_not_begun(stored: RunsInStore) -> None:
    stored.add("r-0001", lambda run: run)
    summary = summarise(load(stored.store, stored.store, "r-0001"), now=5.0)
    assert (summary.elapsed_s, summary.rounds_done, summary.epochs_done, summary.time) == (0.0, 0, 0.0, [])


def test_claims_in_flight_are_attempts(stored: RunsInStore) -> None:
    stored.add("r-0001", interrupted)
    stored.claim("r-0001", 2, 1, "request")
    summary = summarise(load(stored.store, stored.store, "r-0001"), now=1_001.0)
    assert summary.workers[1].attempts == 1


def test_intervals_are_merged() -> None:
    assert merged([(3.0, 4.0), (0.0, 1.0), (0.5, 2.0), (2.0, 2.5)]) == [(0.0, 2.5), (3.0, 4.0)]
    assert merged([]) == []


# --- curves ------------------------------------------------------------------------------------------------


def test_validation_belongs_to_the_parameters_that_the_round_began_with(history: RunHistory) -> None:
    points = {(point.tag, point.step): point.value for point in round_points(history.rounds)}
    assert points["train/loss", 2] == 0.5
    assert points["val/accuracy", 1] == 0.8
    assert ("val/accuracy", 2) not in points


def test_a_step_that_was_done_again_counts_once() -> None:
    def batch(round_index: int, attempt: int, first_step: int, losses: tuple[float, ...], ended_at: float) -> StepBatch:
        return StepBatch(
            worker_index=1, round_index=round_index, attempt=attempt, first_step=first_step, ended_at=ended_at,
            losses=losses, examples=(8,) * len(losses), durations_ms=(1_000.0,) * len(losses),
        )  # fmt: skip

    curves = step_points(
        [batch(1, 1, 0, (4.0, 3.0, 9.0), 13.0), batch(1, 2, 2, (2.0,), 23.0), batch(2, 1, 0, (1.0, 0.5), 33.0)]
    )
    assert [(point.step, point.value, point.at) for point in curves[1]] == [
        (0, 4.0, 11.0), (1, 3.0, 12.0), (2, 2.0, 23.0), (3, 1.0, 32.0), (4, 0.5, 33.0),
    ]  # fmt: skip
