"""What does each kind of task, where one process does them all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from contracts.records import Run
from runs.combine import clear, combine
from runs.execute import Work
from runs.extract import extract
from runs.prepare import prepare
from runs.train import evaluate, initialise, train
from runs.trainer import Trainer


def every_task(trainer: Trainer, prepare_data: Callable[[Run], dict[str, Any]]) -> dict[str, Work]:
    """Kind of task → use case."""
    return {
        "prepare": partial(prepare, prepare_data=prepare_data),
        "extract": partial(extract, trainer=trainer),
        "initialise": partial(initialise, trainer=trainer),
        "train": partial(train, trainer=trainer),
        "evaluate": partial(evaluate, trainer=trainer),
        "combine": combine,
        "clear": clear,
    }
