"""What a worker shows while it works: packed steps, blocks of features, and what the model sees in sample images.

For display only, so a failure is logged and nothing more: the round goes on without.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from contracts.records import PredictionBatch, Run, StepBatch
from runs.execute import Execution
from runs.trainer import StepResults, Trainer
from training.samples import Looks
from training.shards import is_first_validation

logger = logging.getLogger(__name__)

FLUSH_MIN_S = 1.0
FLUSH_WORKERS_PER_S = 32
"""Of all workers together, batches a second that the table is to take."""


def flush_s(run: Run) -> float:
    """How long a worker waits between two batches."""
    return max(FLUSH_MIN_S, run.settings.workers / FLUSH_WORKERS_PER_S)


class Progress:
    """Collects steps and sends them packed."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._first_step = 0
        self._clear()

    def add(self, steps: StepResults) -> None:
        """Keep some more steps, which follow those before."""
        if not self._losses:
            self._first_step = steps.first_step
        self._losses += [round(float(loss), 6) for loss in steps.losses]
        self._examples += [int(count) for count in steps.examples]
        self._durations_ms += [round(float(ms), 3) for ms in steps.durations_ms]
        self._accuracies += [round(float(share), 4) for share in steps.accuracies]

    def flush(self) -> None:
        """Send what there is."""
        if not self._losses:
            return
        execution = self._execution
        batch = StepBatch(
            worker_index=execution.task.key.index,
            round_index=execution.task.key.round_index,
            attempt=execution.attempt,
            first_step=self._first_step,
            ended_at=execution.services.clock.now(),
            losses=tuple(self._losses),
            examples=tuple(self._examples),
            durations_ms=tuple(self._durations_ms),
            accuracies=tuple(self._accuracies),
        )
        with _for_display(execution, "steps"):
            execution.services.telemetry.put_steps(execution.run.run_id, batch)
        self._clear()

    def _clear(self) -> None:
        self._losses: list[float] = []
        self._examples: list[int] = []
        self._durations_ms: list[float] = []
        self._accuracies: list[float] = []


def show_blocks(execution: Execution, stored: int) -> None:
    """Send how many of the worker's blocks of features are stored."""
    batch = StepBatch(
        worker_index=execution.task.key.index,
        round_index=execution.task.key.round_index,
        attempt=execution.attempt,
        first_step=stored,
        ended_at=execution.services.clock.now(),
        losses=(),
        examples=(),
        durations_ms=(),
    )
    with _for_display(execution, "blocks"):
        execution.services.telemetry.put_steps(execution.run.run_id, batch)


def show_looks(execution: Execution, trainer: Trainer, looks: Looks) -> None:
    """Send what the model saw in the validation split; with the pictures, once in a run."""
    run, key = execution.run, execution.task.key
    assert run.plan is not None  # noqa: S101 - a run in TRAINING has one
    with _for_display(execution, "predictions"):
        first = is_first_validation(run.plan, run.settings, run.round_index)
        batch = PredictionBatch(
            worker_index=key.index,
            parameters_round=key.round_index - 1,
            attempt=execution.attempt,
            made_at=execution.services.clock.now(),
            examples=looks.examples,
            truths=looks.truths,
            predicted=looks.predicted,
            confidences=looks.confidences,
            images=trainer.pictures(run, looks.examples) if first and looks.examples else (),
            confusion=looks.confusion,
        )
        execution.services.telemetry.put_predictions(run.run_id, batch)


@contextmanager
def _for_display(execution: Execution, what: str) -> Iterator[None]:
    """Whatever fails in here is logged."""
    try:
        yield
    except Exception:
        logger.warning("%s: its %s cannot be shown", execution.where, what, exc_info=True)
