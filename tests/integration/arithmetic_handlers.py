"""Functions for the engine's tests: the real handlers, with training replaced by arithmetic. No TensorFlow.

`LAMBDAFIT_TEST_STEP_S` makes a step take time; `LAMBDAFIT_TEST_PAUSE` pauses after every chunk of steps.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from contracts.messages import parse_task
from contracts.records import Run
from fakes.arithmetic_trainer import ArithmeticShard, ArithmeticTrainer
from handlers import wiring
from runs.execute import execute
from runs.prepare import prepare as prepare_task
from runs.train import evaluate, initialise
from runs.train import train as train_task
from runs.trainer import Steps
from training.shards import Rows

STEP_S = float(os.environ.get("LAMBDAFIT_TEST_STEP_S", "0"))


class SlowShard(ArithmeticShard):
    def advance(self, steps: int) -> Steps:
        done = super().advance(steps)
        time.sleep(STEP_S * len(done.losses))
        return done


class SlowTrainer(ArithmeticTrainer):
    def shard(self, run: Run, round_index: int, worker_index: int, pieces: Sequence[Rows]) -> ArithmeticShard:
        return SlowShard(run, round_index, worker_index, pieces)


class Hurried:
    """A deadline that is over after the first chunk."""

    def __init__(self) -> None:
        self._asked = 0

    def remaining_s(self) -> float:
        self._asked += 1
        return 1e9 if self._asked == 1 else 0.0


TRAINER = SlowTrainer()
WORK = {
    "initialise": partial(initialise, trainer=TRAINER),
    "train": partial(train_task, trainer=TRAINER),
    "evaluate": partial(evaluate, trainer=TRAINER),
    "prepare": partial(prepare_task, prepare_data=lambda run: {"train_examples": 101, "val_examples": 7}),
}


def handler(event: Mapping[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    deadline = Hurried() if os.environ.get("LAMBDAFIT_TEST_PAUSE") else wiring.ContextDeadline(context)
    return execute(parse_task(event), wiring.services(), deadline, context.aws_request_id, WORK)
