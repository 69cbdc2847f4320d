"""All workers' steps on one grid that grows as they come in: a row a worker, a column a step of the run."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.errors import StoreCorrupted
from contracts.records import RoundPlan, Run, StepBatch
from contracts.settings import RunSettings

Floats = npt.NDArray[np.float32]
Times = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int32]

LARGEST_PRESIZE_CELLS = 2_000_000
"""48 MB over all arrays: what is set aside at once for a run that is planned to be long."""

SMALLEST_COLUMNS = 256
MAX_ROUNDS = 1_000_000
MAX_CELLS = 100_000_000
"""2.4 GB: a batch that asks for more is damaged."""


class Steps(NamedTuple):
    """All workers' steps on one grid: row = worker, column = step of the run, 0-based. Read-only.

    A round begins at the same column for every worker. A column is NaN for a worker that has not come so far, or that
    had one step less in a round.

    Args:
        loss, accuracy, duration_ms: (workers, columns) float32, NaN where unknown.
        examples: (workers, columns) int32, 0 where unknown.
        at: (workers, columns) float64, end of the step in s since 1970, NaN where unknown.
        round_index: (columns,) int32, 1-based.
    """

    loss: Floats
    accuracy: Floats
    duration_ms: Floats
    examples: Counts
    at: Times
    round_index: Counts


class StepGrid:
    """The grid while it grows.

    What it gives out are windows into it: steps that are done again change in them, too, but never their size.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._plan: tuple[RoundPlan, RunSettings] | None = None
        self._starts: list[int] = [0, 0]  # by round: its first column, and behind the last round its end
        self._columns = 0
        self._arrays = _empty(workers)

    @property
    def columns(self) -> int:
        """How many columns are in use."""
        return self._columns

    def use_plan(self, run: Run) -> None:
        """Lay rounds that come from here on out as the run plans them."""
        if self._plan is None and run.plan is not None:
            self._plan = run.plan, run.settings

    def put(self, batch: StepBatch) -> int:
        """Lay a batch on the grid; steps that are there already are replaced.

        Returns:
            the first column that changed.
        Raises:
            StoreCorrupted: it cannot be one of this run.
        """
        count = self._check(batch)
        if not count:
            return self._columns
        moved = self._make_room(batch.round_index, batch.first_step + count)
        low = self._starts[batch.round_index] + batch.first_step
        high = low + count
        durations_ms = np.array(batch.durations_ms, np.float64)  # (count,)
        ends_ms = durations_ms.cumsum()
        row, arrays = batch.worker_index, self._arrays
        arrays.loss[row, low:high] = batch.losses
        arrays.accuracy[row, low:high] = batch.accuracies or np.nan
        arrays.duration_ms[row, low:high] = durations_ms
        arrays.examples[row, low:high] = batch.examples
        arrays.at[row, low:high] = batch.ended_at - (ends_ms[-1] - ends_ms) / 1000
        self._columns = max(self._columns, high)
        return min(low, moved)

    def steps(self) -> Steps:
        """What there is, as read-only windows: nothing is copied."""
        return Steps(*(_window(array, self._columns) for array in self._arrays))

    def _check(self, batch: StepBatch) -> int:
        """How many steps it has."""
        count = len(batch.losses)
        lengths = {count, len(batch.examples), len(batch.durations_ms), len(batch.accuracies) or count}
        fits = (
            len(lengths) == 1
            and 0 <= batch.worker_index < self._workers
            and 1 <= batch.round_index <= MAX_ROUNDS
            and 0 <= batch.first_step <= MAX_CELLS
        )
        if not fits:
            where = f"steps of worker {batch.worker_index} in round {batch.round_index}"
            raise StoreCorrupted(where, f"{sorted(lengths)} values from step {batch.first_step}", "a batch of this run")
        return count

    def _make_room(self, round_index: int, width: int) -> int:
        """See to it that the round has `width` columns. Returns the first column that moved."""
        starts = self._starts
        new_from = len(starts) - 1
        while len(starts) <= round_index + 1:
            starts.append(starts[-1] + self._planned_width(len(starts) - 1))
        end = starts[round_index + 1]
        extra = max(0, starts[round_index] + width - end)
        if (starts[-1] + extra) * self._workers > MAX_CELLS:
            raise StoreCorrupted(f"steps of round {round_index}", f"it has {width:,} steps", "fewer")
        if extra:
            starts[round_index + 1 :] = [at + extra for at in starts[round_index + 1 :]]
            new_from = min(new_from, round_index)
        if extra and self._columns > end:  # later rounds make way
            self._resize(max(self._capacity, starts[-1]), gap_at=end, gap=extra)
            self._columns += extra
            return end
        if starts[-1] > self._capacity:
            self._resize(max(starts[-1], 2 * self._capacity, self._first_capacity()))
        for index in range(new_from, len(starts) - 1):
            self._arrays.round_index[starts[index] : starts[index + 1]] = index
        return MAX_CELLS

    @property
    def _capacity(self) -> int:
        return len(self._arrays.round_index)

    def _first_capacity(self) -> int:
        """As long as the run is planned to become, within bounds."""
        if self._plan is None:
            return SMALLEST_COLUMNS
        plan = self._plan[0]
        planned = plan.total_rounds * self._planned_width(1)
        return max(SMALLEST_COLUMNS, min(planned, LARGEST_PRESIZE_CELLS // self._workers))

    def _planned_width(self, round_index: int) -> int:
        return 0 if self._plan is None or round_index < 1 else planned_steps(*self._plan, round_index)

    def _resize(self, capacity: int, gap_at: int = 0, gap: int = 0) -> None:
        """New arrays, so that windows given out keep what they show; with a gap of empty columns."""
        self._arrays = Steps(*(_stretched(array, capacity, self._columns, gap_at, gap) for array in self._arrays))
        numbers = np.repeat(np.arange(len(self._starts) - 1), np.diff(self._starts))  # (columns of all rounds,)
        self._arrays.round_index[: len(numbers)] = numbers


def planned_steps(plan: RoundPlan, settings: RunSettings, round_index: int) -> int:
    """The steps of the worker that has the most of them in this round."""
    parts = plan.rounds_per_epoch
    if parts > 1:
        last = (round_index - 1) % parts == parts - 1
        rows = plan.examples - (parts - 1) * plan.examples_per_round if last else plan.examples_per_round
        epochs = 1
    else:
        rows = plan.examples
        before = (round_index - 1) * plan.epochs_per_round
        left = plan.epochs_per_round if settings.epochs is None else settings.epochs - before
        epochs = max(0, min(plan.epochs_per_round, left))
    return epochs * math.ceil(math.ceil(rows / settings.workers) / settings.batch_size)


def _empty(workers: int) -> Steps:
    floats, times = np.empty((workers, 0), np.float32), np.empty((workers, 0), np.float64)
    return Steps(floats, floats, floats, np.empty((workers, 0), np.int32), times, np.empty(0, np.int32))


def _window(array: Any, columns: int) -> Any:
    window = array[..., :columns]
    window.flags.writeable = False
    return window


def _stretched(array: Any, capacity: int, used: int, gap_at: int, gap: int) -> Any:
    empty = np.nan if array.dtype.kind == "f" else 0
    grown = np.full((*array.shape[:-1], capacity), empty, array.dtype)
    grown[..., :gap_at] = array[..., :gap_at]
    grown[..., gap_at + gap : used + gap] = array[..., gap_at:used]
    return grown
