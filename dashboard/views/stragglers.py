"""What each worker did, how much slower than the others it was, and how long they waited for it. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dashboard.queries.run_data import RunSnapshot
from dashboard.views import phases
from dashboard.views.lanes import TRAIN
from dashboard.views.task_rows import AT_WORK, FAILED, LOST, PAUSED, SUPERSEDED
from dashboard.views.timeline import Timeline
from runs import words

SLOW = 1.2
"""From this slowdown on a worker is called a straggler."""

MEDIAN_STEPS = 2_000
BYTES_PER_MB = 1 << 20
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class WorkerTable(NamedTuple):
    """One place a worker, all of shape (workers,); NaN where not known.

    Args:
        steps, examples: of the steps that count.
        examples_per_s, step_ms: while it computed; `step_ms` is the median, of at most `MEDIAN_STEPS` steps that are
            spread evenly over the run.
        slowdown: its median time in a round ÷ that of the median worker. Its time in a round goes from the first claim
            of an attempt to its accepted report: failed attempts and hand-overs count, the wait for others does not.
        compute_share: compute ÷ all that it recorded, 0 … 1.
        waited_s: at the barrier, see `RoundTimes`.
        held_up_s: how much later rounds ended because of it: in those where it was the last one, from the report of the
            last but one to its own.
        pauses: hand-overs across the time limit.
        failures: attempts that failed or were lost.
        superseded: whose claim a backup took over, so that their report is refused.
        cost_usd: of its ended attempts.
    """

    worker: Ints
    steps: Ints
    examples: Ints
    examples_per_s: Floats
    step_ms: Floats
    slowdown: Floats
    compute_share: Floats
    waited_s: Floats
    held_up_s: Floats
    attempts: Ints
    pauses: Ints
    failures: Ints
    superseded: Ints
    peak_memory_mb: Floats
    cost_usd: Floats

    def sorted(self) -> WorkerTable:
        """The slowest one first; those of which that is not known last."""
        order = np.argsort(-np.nan_to_num(self.slowdown, nan=-1.0), kind="stable")
        columns: list[Any] = [column[order] for column in self]
        return WorkerTable(*columns)


def make_table(snapshot: RunSnapshot, timeline: Timeline) -> WorkerTable:
    """The table of all workers, by worker."""
    workers = timeline.lanes.workers
    rows = timeline.attempts.rows
    mine = rows[(rows["kind"] == TRAIN) & (rows["index"] < workers)]
    spent = span_seconds(timeline)  # (workers, phases)
    worked_s = spent.sum(axis=1) - spent[:, phases.WAIT] - spent[:, phases.UNREPORTED_CODE]
    examples = snapshot.steps.examples.sum(axis=1, dtype=np.int64)
    duration_ms = snapshot.steps.duration_ms
    known = ~np.isnan(duration_ms)
    step_s = np.sum(duration_ms, axis=1, where=known, dtype=np.float64) / 1000
    memory = np.zeros(workers)
    np.maximum.at(memory, mine["index"], mine["memory_bytes"] / BYTES_PER_MB)

    def count(*outcomes: int) -> Ints:
        return np.bincount(mine["index"][np.isin(mine["outcome"], outcomes)], minlength=workers)

    return WorkerTable(
        worker=np.arange(workers),
        steps=known.sum(axis=1),
        examples=examples,
        examples_per_s=_ratio(examples, step_s),
        step_ms=_medians(duration_ms[:, :: 1 + duration_ms.shape[1] // MEDIAN_STEPS]),
        slowdown=_slowdown(timeline),
        compute_share=_ratio(spent[:, phases.COMPUTE], worked_s),
        waited_s=spent[:, phases.WAIT],
        held_up_s=_held_up_s(timeline),
        attempts=np.bincount(mine["index"], minlength=workers),
        pauses=count(PAUSED),
        failures=count(FAILED, LOST),
        superseded=count(SUPERSEDED),
        peak_memory_mb=np.where(memory > 0, memory, np.nan),
        cost_usd=np.bincount(mine["index"], mine["cost_usd"] * (mine["outcome"] != AT_WORK), workers),
    )


def span_seconds(timeline: Timeline) -> Floats:
    """Attended seconds of each worker in each phase, (workers, phases)."""
    workers, codes = timeline.lanes.workers, len(phases.NAMES)
    bars = timeline.bars
    mine = bars.lane < workers
    place = bars.lane[mine].astype(np.int64) * codes + bars.phase[mine]
    seconds = np.bincount(place, (bars.end_s - bars.start_s)[mine], workers * codes)
    return seconds.reshape(workers, codes)


def headline(table: WorkerTable) -> str:
    """One sentence: which worker was the slowest, and what that cost the others."""
    known = np.flatnonzero(~np.isnan(table.slowdown))
    if not len(known):
        return "No worker has finished a round yet."
    if len(table.worker) == 1:
        return "One worker: there is nobody to wait for."
    worst = int(known[np.argmax(table.slowdown[known])])
    slowdown, held_up_s = float(table.slowdown[worst]), float(table.held_up_s[worst])
    waited = f": the others waited {words.duration(held_up_s)} for it" if held_up_s > 0 else ""
    if slowdown >= SLOW:
        return f"Worker {table.worker[worst]} took {slowdown:.1f} times as long as the median{waited}."
    return (
        f"The {len(table.worker)} workers were about equally fast: the slowest, worker {table.worker[worst]}, "
        f"took {slowdown:.2f} times as long as the median."
    )


def _slowdown(timeline: Timeline) -> Floats:
    times, axis = timeline.rounds, timeline.axis
    lasted = axis.of(times.done) - axis.of(times.first)  # (workers, rounds)
    own = _medians(lasted)
    known = own[~np.isnan(own)]
    middle = float(np.median(known)) if len(known) else 0.0
    return own / middle if middle > 0 else np.full(len(own), np.nan)


def _held_up_s(timeline: Timeline) -> Floats:
    """See `WorkerTable`; only rounds that all workers are done with count."""
    done = timeline.axis.of(timeline.rounds.done)
    workers = len(done)
    done = done[:, ~np.isnan(done).any(axis=0)]
    if workers < 2 or not done.shape[1]:
        return np.zeros(workers)
    ends = np.partition(done, workers - 2, axis=0)
    return np.bincount(done.argmax(axis=0), ends[-1] - ends[-2], workers)


def _medians(values: npt.NDArray[Any]) -> Floats:
    """The median of each row without its NaN, NaN for a row without any other: (rows,)."""
    rows, columns = values.shape
    known = columns - np.isnan(values).sum(axis=1)
    found = np.full(rows, np.nan)
    for count in np.unique(known[known > 0]):
        which = known == count
        middle = ((count - 1) // 2, count // 2)
        parted = np.partition(values[which], middle, axis=1)  # NaN go behind all others
        found[which] = parted[:, middle].mean(axis=1, dtype=np.float64)
    return found


def _ratio(above: npt.NDArray[Any], below: npt.NDArray[Any]) -> Floats:
    whole = np.full(len(below), np.nan)
    return np.asarray(np.divide(above, below, out=whole, where=below > 0, dtype=np.float64))
