"""The sweep: every open run, one that fails holds up no other, and a run goes through on sweeps alone."""

from __future__ import annotations

from typing import Any

import pytest
from handler_helpers import RUN_ID, Context, Hands, Invocations, make_run, sample

from contracts.errors import StoreCorrupted
from contracts.messages import parse_task
from contracts.records import Run
from contracts.stack_errors import SweepIncomplete
from fakes.arithmetic_trainer import ArithmeticTrainer
from fakes.every_task import every_task
from fakes.memory_store import MemoryStore
from handlers import sweep
from runs.execute import execute
from runs.services import Services

TRAINER = ArithmeticTrainer()
WORK = every_task(TRAINER, lambda _: {"train_examples": 64, "val_examples": 6})


class Unhurried:
    def remaining_s(self) -> float:
        return 1e9


def handle(remaining_ms: int = 50_000) -> dict[str, Any]:
    return sweep.handler(sample("sweep"), Context(remaining_ms=remaining_ms))


def work_off(services: Services) -> int:
    """Do what was invoked, as the functions would. Nobody is told that it is done."""
    assert isinstance(services.invoker, Invocations)
    sent = services.invoker.take()
    for number, (_, event) in enumerate(sent):
        execute(parse_task(event), services, Unhurried(), f"request-{number}", WORK)
    return len(sent)


def test_a_whole_run_goes_through_with_only_the_sweep(services: Services) -> None:
    services.store.create_run(make_run())
    assert isinstance(services.clock, Hands)
    sweeps = 0
    while not services.store.load_run(RUN_ID).ended:
        assert handle()["runs"] == 1
        work_off(services)
        services.clock.now_s += 60
        sweeps += 1
        assert sweeps < 60
    run = services.store.load_run(RUN_ID)
    assert (run.status, run.reason, run.final_round) == ("FINISHED", "rounds", 2)
    assert handle() == {"runs": 0, "ended": 0}


def test_lost_invocations_are_sent_again(services: Services) -> None:
    services.store.create_run(make_run())
    assert isinstance(services.invoker, Invocations) and isinstance(services.clock, Hands)
    handle()
    lost = services.invoker.take()
    handle()
    assert services.invoker.take() == []  # the offer is in time
    services.clock.now_s += 60
    handle()
    assert services.invoker.take() == lost


def test_a_run_that_fails_holds_up_no_other_and_the_alarm_hears_of_it(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_ids = ["r-aaaa", RUN_ID, "r-bbbb"]
    for run_id in run_ids:
        services.store.create_run(make_run(run_id))
    load_run = services.store.load_run

    def damaged(run_id: str) -> Run:
        if run_id == RUN_ID:
            raise StoreCorrupted(f"run {run_id}", "its data is no JSON")
        return load_run(run_id)

    monkeypatch.setattr(services.store, "load_run", damaged)
    with pytest.raises(SweepIncomplete, match=f"E426 .*1 of 3 open runs failed, {RUN_ID} with"):
        handle()
    assert [load_run(run_id).status for run_id in run_ids] == ["RUNNING", "PENDING", "RUNNING"]


def test_a_run_that_is_deleted_meanwhile_is_no_failure(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(services.store, MemoryStore)
    monkeypatch.setattr(services.store, "open_run_ids", lambda: ["r-gone"])
    assert handle() == {"runs": 1, "ended": 1}


def test_without_time_nothing_is_begun_and_that_is_said(services: Services) -> None:
    services.store.create_run(make_run())
    with pytest.raises(SweepIncomplete, match="no time was left"):
        handle(remaining_ms=2_000)
    assert services.store.load_run(RUN_ID).status == "PENDING"


def test_each_sweep_begins_with_another_run() -> None:
    names = ["a", "b", "c"]
    firsts = [sweep._in_turn(names, 60.0 * minute)[0] for minute in range(3)]
    assert sorted(firsts) == names
    assert sorted(sweep._in_turn(names, 61.0)) == names and sweep._in_turn([], 0.0) == []
