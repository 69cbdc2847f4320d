"""Paused, killed, stopped and resumed with updates as bfloat16: the same parameters, to the bit."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from contracts.records import Run
from engines.home import Home
from engines.local import LocalEngine
from runs import control
from runs.start import start
from simulation.world import fault_free, settings

TESTS = Path(__file__).parents[1]
HANDLERS = dict.fromkeys(("train", "prepare", "combine"), "arithmetic_handlers.handler")
SETTINGS = settings(workers=2, concurrency=2, epochs=1, time_limit_s=60.0, max_attempts=10, update_dtype="bfloat16")


def test_paused_killed_stopped_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS / "integration")]))
    monkeypatch.setenv("LAMBDAFIT_TEST_PAUSE", "1")
    home = Home(tmp_path / "home")
    home.create()
    killed: list[int] = []

    with LocalEngine(home, "", "r-test", SETTINGS, HANDLERS) as engine:
        run_id = start(engine.services, SETTINGS).run_id

        def kill_then_stop(run: Run) -> None:
            if run.round_index == 2 and not killed:
                for child in psutil.Process().children():
                    killed.append(child.pid)
                    child.kill()
            if run.round_index == 3 and run.status == "RUNNING":
                control.cancel(engine.services, run_id)

        assert engine.conduct(run_id, kill_then_stop).status == "CANCELLED"
    assert killed
    with LocalEngine(home, "", "r-test", SETTINGS, HANDLERS) as engine:
        control.resume(engine.services, run_id, {}, engine_was_lost=True)
        run = engine.conduct(run_id, lambda _: None)
        updates = [
            task.report.outputs["update"]
            for index in range(1, run.round_index + 1)
            for task in engine.services.store.load_tasks(run_id, index).values()
            if task.key.kind == "train" and task.report
        ]
    assert run.status == "FINISHED", run.error
    assert updates and {ref.dtype for ref in updates} == {"bfloat16"}
    world = fault_free(SETTINGS, train_examples=101, val_examples=7)
    whole = fault_free(replace(SETTINGS, update_dtype="float32"), train_examples=101, val_examples=7)
    digest = world.store.runs["r-simulated"].results["parameters_sha256"]
    assert run.results["parameters_sha256"] == digest
    assert whole.store.runs["r-simulated"].results["parameters_sha256"] != digest
