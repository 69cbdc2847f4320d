"""A run on real processes ends with the same parameters, whatever dies on the way. Training is arithmetic here."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec.structs import replace

from contracts.errors import HomeInUse
from contracts.records import Run
from contracts.settings import RunSettings
from engines.home import Home
from engines.local import LocalEngine
from runs import control
from runs.budget import least_usd
from runs.start import start
from simulation.world import fault_free, settings

TESTS = Path(__file__).parents[1]
HANDLERS = {
    "train": "arithmetic_handlers.handler",
    "prepare": "arithmetic_handlers.handler",
    "combine": "arithmetic_handlers.handler",
}
SETTINGS = settings(workers=2, concurrency=2, epochs=1, time_limit_s=60.0, max_attempts=10)


@pytest.fixture(autouse=True)
def handlers_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS / "integration")]))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made


def engine(home: Home, run_settings: RunSettings = SETTINGS, kind: type[LocalEngine] = LocalEngine) -> LocalEngine:
    return kind(home, "", "r-test", run_settings, HANDLERS)


def nothing(run: Run) -> None:
    """Watches nothing."""


@cache
def expected_digest() -> str:
    """What the same arithmetic gives in the simulator, with 101 examples as the handlers here have."""
    world = fault_free(SETTINGS, train_examples=101, val_examples=7)
    return str(world.store.runs["r-simulated"].results["parameters_sha256"])


def finish(running: LocalEngine, run_id: str, watch: Callable[[Run], None] = nothing) -> Run:
    run = running.conduct(run_id, watch)
    assert run.status == "FINISHED", run.error
    return run


def test_processes_give_what_the_simulator_gives(home: Home) -> None:
    with engine(home) as running:
        run = finish(running, start(running.services, SETTINGS).run_id)
    assert run.results["parameters_sha256"] == expected_digest()


class Doubling(LocalEngine):
    """Every event is delivered twice."""

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        super().invoke(function, event)
        super().invoke(function, event)


def test_every_event_twice_gives_the_same(home: Home) -> None:
    with engine(home, kind=Doubling) as running:
        run = finish(running, start(running.services, SETTINGS).run_id)
    assert run.results["parameters_sha256"] == expected_digest()


@pytest.mark.parametrize("variable", ["LAMBDAFIT_TEST_LOSE", "LAMBDAFIT_TEST_PAUSE"])
def test_lost_reports_and_many_pauses_give_the_same(home: Home, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    with engine(home) as running:
        run = finish(running, start(running.services, SETTINGS).run_id)
        tasks = [t for r in range(1, 18) for t in running.services.store.load_tasks(run.run_id, r).values()]
    assert run.results["parameters_sha256"] == expected_digest()
    outcomes = {record.outcome for task in tasks for record in task.history}
    assert ("lost" if variable == "LAMBDAFIT_TEST_LOSE" else "done") in outcomes


def test_killed_environments_give_the_same(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDAFIT_TEST_STEP_S", "0.01")
    killed: list[int] = []

    def kill_one_each_third_round(run: Run) -> None:
        if run.phase == "TRAINING" and run.round_index % 3 == 0 and run.round_index not in killed:
            children = [p for p in psutil.Process().children() if p.is_running()]
            if children:
                killed.append(run.round_index)
                children[len(killed) % len(children)].send_signal(signal.SIGKILL)

    with engine(home) as running:
        run = finish(running, start(running.services, SETTINGS).run_id, kill_one_each_third_round)
    assert len(killed) >= 3
    assert run.results["parameters_sha256"] == expected_digest()


def test_an_engine_lost_in_any_round_is_followed_by_another(home: Home) -> None:
    class Lost(Exception):
        pass

    def until(round_index: int) -> Callable[[Run], None]:
        def watch(run: Run) -> None:
            if run.round_index >= round_index:
                raise Lost

        return watch

    with engine(home) as running:
        run_id = start(running.services, SETTINGS).run_id
    for round_index in (1, 3, 4, 9):
        with engine(home) as running, pytest.raises(Lost):
            control.resume(running.services, run_id, {}, engine_was_lost=True)
            running.conduct(run_id, until(round_index))
    with engine(home) as running:
        control.resume(running.services, run_id, {}, engine_was_lost=True)
        run = finish(running, run_id)
    assert run.results["parameters_sha256"] == expected_digest()


def test_a_stop_from_elsewhere_ends_the_run_and_a_resume_finishes_it(home: Home) -> None:
    with engine(home) as running:
        run_id = start(running.services, SETTINGS).run_id
        stopper = threading.Thread(target=control.cancel, args=(running.services, run_id))

        def stop_in_round_two(run: Run) -> None:
            if run.round_index == 2 and not stopper.ident:
                stopper.start()

        run = running.conduct(run_id, stop_in_round_two)
        stopper.join()
        assert run.status == "CANCELLED" and run.error is not None and run.error.number == "E503"
        control.resume(running.services, run_id, {}, engine_was_lost=True)
        assert finish(running, run_id).results["parameters_sha256"] == expected_digest()


def test_a_budget_stops_the_run_and_more_money_finishes_it(home: Home) -> None:
    # Just one attempt that builds the model is held back in full; the one before it has cost something by then.
    poor = replace(SETTINGS, max_cost_usd=least_usd(SETTINGS))
    with engine(home, poor) as running:
        run_id = start(running.services, poor).run_id
        run = running.conduct(run_id, nothing)
        assert (run.status, run.reason) == ("FAILED", "budget")
        assert run.error is not None and run.error.exit_code == 5
        control.resume(running.services, run_id, {"max_cost_usd": 1.0}, engine_was_lost=True)
        assert finish(running, run_id).results["parameters_sha256"] == expected_digest()


def test_two_engines_do_not_share_a_home(home: Home) -> None:
    with engine(home), pytest.raises(HomeInUse, match=f"process {os.getpid()}, run r-test"):
        engine(home)
    engine(home).stop()


def test_only_what_should_remain_remains(home: Home) -> None:
    with engine(home) as running:
        run = finish(running, start(running.services, SETTINGS).run_id)
        files = running.services.files
        kept = {ref.path for ref in (*run.parameters, *(run.best.parameters if run.best else ()))}
        folder = f"runs/{run.run_id}"
        found = {
            f"{folder}/parameters/{name}/{file}"
            for name in files.names(f"{folder}/parameters")
            for file in files.names(f"{folder}/parameters/{name}")
        }
        assert found == kept
        for kind in ("updates", "state", "outer"):
            assert files.names(f"{folder}/{kind}") == []
