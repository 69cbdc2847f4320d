"""One run under load: conducts it in this process, looks at what is held, checks that nothing is lost. Prints JSON."""

from __future__ import annotations

import argparse
import json
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

import held_resources
import whole_numbers
from contracts.records import Run
from contracts.settings import RunSettings
from engines.home import Home
from engines.local import LocalEngine
from runs.start import start

HERE = Path(__file__).resolve().parent
HANDLERS = dict.fromkeys(("train", "prepare", "combine"), "load_handlers.handler")
LOOK_S = 0.5


class Watch:
    """Looks at the processes and the home now and then while the run is conducted."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._process = psutil.Process()
        self._looked_at = 0.0
        self.parent: list[tuple[int, int, int]] = []
        self.environment_bytes = 0
        self.environment_descriptors = 0
        self.wal_bytes: dict[str, int] = {"runs.db": 0, "telemetry.db": 0}

    def __call__(self, run: Run) -> None:
        """The engine's `watch`: be quick."""
        if time.monotonic() - self._looked_at < LOOK_S:
            return
        held = held_resources.held_by(self._process)
        assert held is not None
        self.parent.append((run.round_index, *held))
        for one in held_resources.environments().values():
            self.environment_bytes = max(self.environment_bytes, one.resident_bytes)
            self.environment_descriptors = max(self.environment_descriptors, one.descriptors)
        for name, most in self.wal_bytes.items():
            wal = self._home / f"{name}-wal"
            self.wal_bytes[name] = max(most, wal.stat().st_size if wal.exists() else 0)
        self._looked_at = time.monotonic()


def conduct(home: Home, settings: RunSettings) -> dict[str, Any]:
    """The run's figures."""
    watch = Watch(home.folder)
    began = time.perf_counter()
    with LocalEngine(home, "", "r-0000000000", settings, HANDLERS) as engine:
        run_id = start(engine.services, settings).run_id
        engine.prestart()
        run = engine.conduct(run_id, watch)
        wall_s = time.perf_counter() - began
        figures = checked(engine, run)
    engine.services.store.close()  # the last connection empties the write-ahead logs
    figures |= {
        "wall_s": wall_s,
        "parent": watch.parent,
        "environment_bytes": watch.environment_bytes,
        "environment_descriptors": watch.environment_descriptors,
        "wal_bytes": watch.wal_bytes,
        "stored": held_resources.home_bytes(home.folder),
        "times_s": read_times(home.folder / "timings"),
    }
    return figures


def checked(engine: LocalEngine, run: Run) -> dict[str, Any]:
    """What the store holds of the run, after making sure that all of it is there, once.

    Raises:
        AssertionError: something is lost, doubled or wrong.
    """
    assert run.status == "FINISHED", run.error
    settings, store = run.settings, engine.services.store
    assert run.results["parameters_sha256"] == whole_numbers.expected_digest(settings), "other parameters"
    records = store.load_rounds(run.run_id)
    steps = settings.steps_per_round or 0
    assert [record.round_index for record in records] == list(range(1, (settings.rounds or 0) + 1))
    assert all(record.examples == settings.workers * steps for record in records)
    tasks = [task for record in records for task in store.load_tasks(run.run_id, record.round_index).values()]
    trained = [task for task in tasks if task.key.kind == "train"]
    assert len(trained) == settings.workers * len(records)
    began = time.perf_counter()
    batches, _ = engine.services.telemetry.read_steps(run.run_id)
    read_s = time.perf_counter() - began
    seen = {
        (batch.round_index, batch.worker_index, batch.first_step + offset): loss
        for batch in batches
        for offset, loss in enumerate(batch.losses)
    }
    assert len(seen) == settings.workers * steps * len(records), "steps are missing"
    assert all(whole_numbers.loss(*where) == loss for where, loss in seen.items()), "steps are mixed up"
    return {
        "rounds_s": [after.committed_at - before.committed_at for before, after in pairwise(records)],
        "attempts": sum(len(task.history) for task in trained),
        "tasks": len(trained),
        "steps": len(seen),
        "step_batches": len(batches),
        "read_steps_s": read_s,
    }


def read_times(folder: Path) -> dict[str, dict[str, float]]:
    """Percentiles of what the environments noted, in seconds."""
    found: dict[str, list[float]] = {}
    for path in folder.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            for what, times in json.loads(line).items():
                found.setdefault(what, []).extend(times)
    return {what: held_resources.percentiles(times) for what, times in found.items()}


def main() -> None:
    """Do one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    for name in ("workers", "rounds", "steps", "concurrency"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--step-s", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ |= {"PYTHONPATH": str(HERE), "LAMBDAFIT_LOAD_TIMINGS": "1"}
    settings = whole_numbers.run_settings(
        options.workers,
        options.rounds,
        options.steps,
        step_s=options.step_s,
        concurrency=options.concurrency,
        seed=options.seed,
    )
    home = Home(options.home)
    home.create()
    print(json.dumps(conduct(home, settings)))


if __name__ == "__main__":
    main()
