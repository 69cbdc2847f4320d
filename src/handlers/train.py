"""Lambda function Train: initialises, trains shards and evaluates. The only one that loads TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from contracts.messages import parse_task
from handlers import wiring
from runs.execute import execute
from runs.keras_trainer import KerasTrainer
from runs.train import evaluate, initialise, train

# In INIT, which is not counted in the time limit: TensorFlow with its threads pinned, before any operation runs.
TRAINER = KerasTrainer(wiring.services().files, threads=wiring.environment().threads)

WORK = {
    "initialise": partial(initialise, trainer=TRAINER),
    "train": partial(train, trainer=TRAINER),
    "evaluate": partial(evaluate, trainer=TRAINER),
}

INIT = wiring.Init()


def handler(event: Mapping[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """Do one initialise, train or evaluate task."""
    deadline = wiring.ContextDeadline(context)
    return execute(parse_task(event), wiring.services(), deadline, context.aws_request_id, WORK, INIT.take())
