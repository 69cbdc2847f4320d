"""How far the outputs of a frozen backbone have come: blocks stored of all blocks, for displays. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from contracts.records import Run, StepBatch, Task, TaskKey
from runs.stages import extracting_workers
from training.feature_blocks import part_of, plan_blocks


class BlocksStored(NamedTuple):
    """Blocks of features that are stored, of how many."""

    stored: int
    total: int


class ToldBlocks:
    """What workers have told of their blocks."""

    def __init__(self) -> None:
        self.by_worker: dict[int, int] = {}

    def hear(self, batch: StepBatch) -> bool:
        """Take a batch that tells of blocks, and remember it. Returns whether it does; others are of steps."""
        if batch.round_index != 0 or batch.losses:
            return False
        # Whoever begins anew finds the blocks that are there: they never become fewer.
        self.by_worker[batch.worker_index] = max(batch.first_step, self.by_worker.get(batch.worker_index, 0))
        return True


def blocks_stored(run: Run, tasks: Mapping[TaskKey, Task], told: Mapping[int, int]) -> BlocksStored:
    """Blocks of a run that is EXTRACTING.

    Args:
        tasks: of its present round.
        told: worker → blocks that it has told of.
    """
    blocks, workers = plan_blocks(run.data_facts), extracting_workers(run)
    stored = 0
    for index in range(workers):
        own = len(part_of(blocks, workers, index))
        task = tasks.get(TaskKey(round_index=run.round_index, kind="extract", index=index))
        if task is not None and task.status == "DONE":
            stored += own
            continue
        paused_at = task.resume.steps_done if task is not None and task.resume is not None else 0
        stored += min(own, max(paused_at, told.get(index, 0)))
    return BlocksStored(stored, len(blocks))
