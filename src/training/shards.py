"""Which worker sees which examples: a pure function of seed, epoch and round.

The data lie shuffled on disk. An epoch orders them anew by blocks; the order is cut into the rounds of the epoch
first and among the workers second, so the examples of a round are the same for any number of workers. Shards are
disjoint, complete and never empty.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from contracts.records import RoundPlan
from contracts.settings import RunSettings, Sync

DEFAULT_ROUNDS_PER_EPOCH = 12
"""About 12 rounds an epoch held accuracy best in the convergence benchmark (docs/adr/0004)."""

MIN_DEFAULT_STEPS = 16
"""Shorter rounds spend more time on the round than on its steps."""

IN_MEMORY_BLOCK_ROWS = 1
"""Data that fit in memory are shuffled row by row."""

Rows = npt.NDArray[np.int64]


def plan_rounds(examples: int, settings: RunSettings) -> RoundPlan:
    """How the examples are cut into rounds.

    A round is at least one step of every worker. More steps than an epoch has make rounds of whole epochs.

    Args:
        examples: training examples, at least as many as workers.
    """
    step_examples = settings.batch_size * settings.workers
    steps_per_epoch = math.ceil(examples / step_examples)
    steps = settings.steps_per_round or _default_steps(steps_per_epoch, settings.sync)
    examples_per_round = min(steps * step_examples, examples)
    rounds_per_epoch = math.ceil(examples / examples_per_round)
    if rounds_per_epoch > 1 and examples - (rounds_per_epoch - 1) * examples_per_round < settings.workers:
        rounds_per_epoch -= 1  # too few are left to give every worker one: the last round takes them too
    epochs_per_round = max(1, steps // steps_per_epoch)
    if settings.epochs is not None:
        total = (
            settings.epochs * rounds_per_epoch
            if rounds_per_epoch > 1
            else math.ceil(settings.epochs / epochs_per_round)
        )
    else:
        total = settings.rounds or 1
    return RoundPlan(
        examples=examples,
        examples_per_round=examples_per_round,
        rounds_per_epoch=rounds_per_epoch,
        epochs_per_round=epochs_per_round,
        total_rounds=total,
    )


def _default_steps(steps_per_epoch: int, sync: Sync) -> int:
    if sync == "gradients":
        return 1
    return min(steps_per_epoch, max(MIN_DEFAULT_STEPS, math.ceil(steps_per_epoch / DEFAULT_ROUNDS_PER_EPOCH)))


def epochs_of_round(plan: RoundPlan, round_index: int, epochs: int | None) -> range:
    """The 0-based epochs that a round touches: one, or several whole ones.

    Args:
        epochs: the run's whole number of epochs, which the last round does not overstep; None: no end.
    """
    if plan.rounds_per_epoch > 1:
        epoch = (round_index - 1) // plan.rounds_per_epoch
        return range(epoch, epoch + 1)
    first = (round_index - 1) * plan.epochs_per_round
    last = first + plan.epochs_per_round
    return range(first, last if epochs is None else min(last, epochs))


@lru_cache(maxsize=2)
def epoch_order(examples: int, seed: int, epoch: int, block_rows: int = IN_MEMORY_BLOCK_ROWS) -> Rows:
    """All row numbers in the order of one epoch: blocks in random order, rows of a block side by side.

    Returns:
        int64 of shape (examples,): a permutation.
    """
    random = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    if block_rows == 1:
        order = random.permutation(examples)
        order.flags.writeable = False  # it is kept for the epoch's other rounds
        return order
    blocks = random.permutation(math.ceil(examples / block_rows))
    rows = blocks[:, None] * block_rows + np.arange(block_rows)  # (blocks, block_rows)
    flat = rows.reshape(-1)
    order = flat[flat < examples]
    order.flags.writeable = False
    return order


def shard(
    plan: RoundPlan,
    settings: RunSettings,
    round_index: int,
    worker_index: int,
    block_rows: int = IN_MEMORY_BLOCK_ROWS,
) -> list[Rows]:
    """The rows that one worker sees in one round, in training order, one array an epoch.

    Args:
        round_index: 1-based.
        worker_index: 0 … workers - 1.
    Returns:
        int64 arrays of shape (rows,), none of them empty.
    """
    pieces: list[Rows] = []
    for epoch in epochs_of_round(plan, round_index, settings.epochs):
        order = epoch_order(plan.examples, settings.seed, epoch, block_rows)
        part = (round_index - 1) % plan.rounds_per_epoch
        first = part * plan.examples_per_round
        last = plan.examples if part == plan.rounds_per_epoch - 1 else first + plan.examples_per_round
        low, high = _cut(last - first, settings.workers, worker_index)
        pieces.append(order[first + low : first + high])
    return pieces


def validation_part(examples: int, workers: int, worker_index: int) -> tuple[int, int]:
    """The row range of the validation split that one worker evaluates; empty where there are few rows."""
    return _cut(examples, workers, worker_index)


def is_validation_round(plan: RoundPlan, settings: RunSettings, round_index: int) -> bool:
    """Whether the parameters that this round begins with are validated: once an epoch unless set otherwise.

    The first round's, being untrained, are not.
    """
    return round_index > 1 and (round_index - 1) % _rounds_between_validations(plan, settings) == 0


def is_first_validation(plan: RoundPlan, settings: RunSettings, round_index: int) -> bool:
    """Whether this round validates, and none did before it."""
    return round_index - 1 == _rounds_between_validations(plan, settings)


def _rounds_between_validations(plan: RoundPlan, settings: RunSettings) -> int:
    return settings.validate_every_rounds or plan.rounds_per_epoch


def _cut(length: int, parts: int, index: int) -> tuple[int, int]:
    return index * length // parts, (index + 1) * length // parts
