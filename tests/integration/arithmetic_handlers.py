"""Functions for the engine's tests: the real handlers, with training replaced by arithmetic. No TensorFlow.

`LAMBDAFIT_TEST_STEP_S` makes a step take time; while the file `LAMBDAFIT_TEST_HOLD` is there, no step after the
first round ends; `LAMBDAFIT_TEST_PAUSE` pauses after every chunk of steps;
`LAMBDAFIT_TEST_LOSE` loses each environment's every third report: the work is done, and nobody hears of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from contracts.messages import parse_task
from contracts.records import Run, Task
from fakes.arithmetic_trainer import ArithmeticShard, ArithmeticTrainer, Steps
from fakes.every_task import every_task
from handlers import wiring
from runs.execute import execute
from runs.services import Services
from stores.sqlite import SqliteStore
from training.shards import Rows

STEP_S = float(os.environ.get("LAMBDAFIT_TEST_STEP_S", "0"))
HOLD = Path(os.environ.get("LAMBDAFIT_TEST_HOLD", os.devnull + "/none"))
HOLD_LIMIT_S = 120.0


class SlowShard(ArithmeticShard):
    round_index = 0

    def advance(self, steps: int) -> Steps:
        done = super().advance(steps)
        time.sleep(STEP_S * len(done.losses))
        until = time.monotonic() + HOLD_LIMIT_S
        while self.round_index > 1 and HOLD.exists() and time.monotonic() < until:
            time.sleep(0.01)
        return done


class SlowTrainer(ArithmeticTrainer):
    def shard(self, run: Run, round_index: int, worker_index: int, pieces: Sequence[Rows]) -> ArithmeticShard:
        shard = SlowShard(run, round_index, worker_index, pieces)
        shard.round_index = round_index
        return shard


class Hurried:
    """A deadline that is over after the first chunk."""

    def __init__(self) -> None:
        self._asked = 0

    def remaining_s(self) -> float:
        self._asked += 1
        return 1e9 if self._asked == 1 else 0.0


class LosingStore(SqliteStore):
    """Says that it saved a report, now and then, and did not."""

    reports = 0

    def save_task(self, run_id: str, task: Task, *, stage: str | None = None) -> bool:
        if task.status in ("DONE", "WAITING"):
            self.reports += 1
            if self.reports % 3 == 0:
                return True
        return super().save_task(run_id, task, stage=stage)


def services() -> Services:
    plain = wiring.services()
    if os.environ.get("LAMBDAFIT_TEST_LOSE"):
        return replace(plain, store=LOSING)
    return plain


LOSING = LosingStore(wiring.environment().store_file)
TRAINER = SlowTrainer()
WORK = every_task(TRAINER, lambda run: {"train_examples": 101, "val_examples": 7})


def handler(event: Mapping[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    deadline = Hurried() if os.environ.get("LAMBDAFIT_TEST_PAUSE") else wiring.ContextDeadline(context)
    return execute(parse_task(event), services(), deadline, context.aws_request_id, WORK)
