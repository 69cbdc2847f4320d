"""Functions for `bench_load.py` and `bench_soak.py`: real handlers and use cases, training replaced by whole numbers.

Each environment notes in `timings/` of the home how long its claims, reports and telemetry took.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from contracts.messages import parse_task
from contracts.records import StepBatch, Task
from every_task import every_task
from handlers import wiring
from runs.execute import execute
from runs.services import Services
from stores.sqlite import SqliteStore
from whole_numbers import NumberTrainer, prepare_numbers

TRAINER = NumberTrainer()
WORK = every_task(TRAINER, prepare_numbers)


class TimedStore(SqliteStore):
    """The run store, with a stopwatch."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.began = 0.0
        self.took_s: dict[str, list[float]] = {}

    def save_task(self, run_id: str, task: Task, *, stage: str | None = None) -> bool:
        """See `RunStore.save_task`. A claim counts from when the function was called."""
        began = time.perf_counter()
        saved = super().save_task(run_id, task, stage=stage)
        if task.status == "CLAIMED" and saved:
            self.note("claim", self.began)
        elif task.status in ("DONE", "WAITING"):
            self.note("report", began)
        return saved

    def put_steps(self, run_id: str, batch: StepBatch) -> None:
        """See `Telemetry.put_steps`."""
        began = time.perf_counter()
        super().put_steps(run_id, batch)
        self.note("telemetry", began)

    def note(self, what: str, began: float) -> None:
        """It is over now."""
        self.took_s.setdefault(what, []).append(time.perf_counter() - began)

    def write_times(self, folder: Path) -> None:
        """Add what was noted to this process's file, as lines of JSON."""
        folder.mkdir(exist_ok=True)
        with (folder / f"{os.getpid()}.jsonl").open("a") as file:
            file.write(json.dumps(self.took_s) + "\n")
        self.took_s.clear()


@cache
def timed_store() -> TimedStore:
    """This environment's."""
    return TimedStore(wiring.environment().store_file)


@cache
def services() -> Services:
    """This environment's, with a stopwatch where `LAMBDAFIT_LOAD_TIMINGS` asks for one."""
    plain = wiring.services()
    if not os.environ.get("LAMBDAFIT_LOAD_TIMINGS"):
        return plain
    return replace(plain, store=timed_store(), telemetry=timed_store())


def handler(event: Mapping[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """Do one task."""
    known, store = services(), timed_store()
    store.began = time.perf_counter()
    deadline = wiring.ContextDeadline(context)
    done = execute(parse_task(event), known, deadline, context.aws_request_id, WORK)
    if store.took_s:
        store.write_times(Path(wiring.environment().home) / "timings")
    return done
