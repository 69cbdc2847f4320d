"""Lambda function Train: extracts features, initialises, trains and evaluates. It loads TensorFlow, as Predict does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from contracts.messages import is_probe, is_warm_up, parse_task
from contracts.records import Report
from handlers import wiring
from handlers.probe import answer_probe
from handlers.warm_trainer import WarmTrainer, places
from handlers.warm_up import warm_up
from libraries.load import current_digest
from runs.execute import Execution, execute
from runs.extract import extract
from runs.train import evaluate, initialise, train

TRAINER = WarmTrainer()


def _work(use_case: Callable[..., Report], execution: Execution) -> Report:
    return use_case(execution, trainer=TRAINER.get(execution.span))


WORK = {
    "extract": partial(_work, extract),
    "initialise": partial(_work, initialise),
    "train": partial(_work, train),
    "evaluate": partial(_work, evaluate),
}

INIT = wiring.Init()


def handler(event: Mapping[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """Do one extract, initialise, train or evaluate task, answer a probe, or get ready for a run."""
    if is_probe(event):
        return answer_probe("train", current_digest(places()))
    if is_warm_up(event):
        return warm_up(event, TRAINER, INIT)
    deadline = wiring.ContextDeadline(context)
    message = parse_task(event)
    before = (INIT.take(), INIT.take_transfer(message))
    return execute(message, wiring.services(), deadline, context.aws_request_id, WORK, *before)
