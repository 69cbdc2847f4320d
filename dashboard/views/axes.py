"""Where steps and rounds of a run lie along an axis: steps, epochs or time. Pure."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from dashboard.queries.run_data import RunSnapshot
from dashboard.views.attended import Attended, Cut, attended
from dashboard.views.bands import median
from dashboard.views.task_rows import NOT_SEEN, row_store

Axis = Literal["step", "epoch", "time"]
AXES: tuple[Axis, ...] = ("step", "epoch", "time")
TITLES: dict[Axis, str] = {"step": "step", "epoch": "epoch", "time": "seconds since the start"}
Floats = npt.NDArray[Any]


class Placement(NamedTuple):
    """A run on an axis.

    Args:
        columns: (columns,) where each step of the grid ends.
        rounds: round index → where it was combined; 0 for the initial parameters. Only committed rounds.
        clock: seconds since 1970 → place, on the time axis; None on the others.
        cuts: silences that were left out of the time axis.
    """

    axis: Axis
    columns: Floats
    rounds: dict[int, float]
    clock: Attended | None = None
    cuts: tuple[Cut, ...] = ()


def place(snapshot: RunSnapshot, axis: Axis) -> Placement:
    """The run's steps and committed rounds on that axis."""
    if axis == "time":
        return _by_time(snapshot)
    round_index = snapshot.steps.round_index
    committed = [record.round_index for record in snapshot.rounds]
    ends = dict(zip(committed, map(int, np.searchsorted(round_index, committed, "right")), strict=True))
    if axis == "step":
        columns = np.arange(1, len(round_index) + 1)
        return Placement(axis, columns, {0: 0.0, **{index: float(end) for index, end in ends.items()}})
    epochs = {record.round_index: record.epochs for record in snapshot.rounds}
    return Placement(axis, _epochs(snapshot, ends, epochs), {0: 0.0, **epochs})


def attended_clock(snapshot: RunSnapshot, until: float | None = None) -> Attended:
    """The run's time without the silences in which nobody worked on it.

    How long a lost attempt lived, or one that was superseded, is not known: its steps tell.

    Args:
        until: its end, in seconds since 1970; None for the run's end, or the newest that is known.
    """
    run = snapshot.run
    commits = [(record.committed_at, record.committed_at) for record in snapshot.rounds]
    steps = [(packed.began_at, packed.ended_at) for packed in snapshot.packed_steps]
    busy = np.array([(run.started_at, run.started_at), *commits, *steps])  # (intervals, 2)
    attempts = row_store(snapshot).attempts(snapshot)
    starts = attempts["start"]
    ends = np.where(np.isin(attempts["outcome"], NOT_SEEN), starts, attempts["end"])
    last = (run.ended_at or max(run.started_at, snapshot.newest_at)) if until is None else until
    return attended(
        run.started_at, last, np.append(busy[:, 0], starts), np.append(busy[:, 1], ends), lambda: np.empty(0)
    )


def _by_time(snapshot: RunSnapshot) -> Placement:
    clock = attended_clock(snapshot)
    # A step done again has a later time than those that follow it: the curve must not run backwards.
    when = np.fmax.accumulate(clock.of(median(snapshot.steps.at))) if snapshot.steps.at.size else np.empty(0)
    rounds = {record.round_index: float(clock.of(np.array([record.committed_at]))[0]) for record in snapshot.rounds}
    return Placement("time", when, {0: 0.0, **rounds}, clock, clock.cuts)


def _epochs(snapshot: RunSnapshot, ends: dict[int, int], epochs: dict[int, float]) -> Floats:
    """Steps of a round lie evenly between its two ends; those of the open round go on as large as a batch is."""
    columns = len(snapshot.steps.round_index)
    knots, values = [0, *ends.values()], [0.0, *(epochs[index] for index in ends)]
    plan, settings = snapshot.run.plan, snapshot.run.settings
    if columns > knots[-1]:
        examples = plan.examples if plan else 1
        a_step = settings.workers * settings.batch_size / max(1, examples)
        values.append(values[-1] + a_step * (columns - knots[-1]))
        knots.append(columns)
    return np.interp(np.arange(1, columns + 1), knots, values)
