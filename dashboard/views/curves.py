"""A measure of all workers as points along a run: a point a step, a round or an epoch, and their spread. Pure.

Costly for many workers, so kept for each run as long as nothing has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from dashboard.queries.run_data import RunSnapshot
from dashboard.views.axes import Axis, Placement, place
from dashboard.views.bands import Band, band, means
from dashboard.views.remembered import Remembered

Measure = Literal["loss", "accuracy"]
Level = Literal["step", "round", "epoch"]
MEASURES: tuple[Measure, ...] = ("loss", "accuracy")
LEVELS: tuple[Level, ...] = ("step", "round", "epoch")
Floats = npt.NDArray[Any]
Places = npt.NDArray[np.int64]

ALMOST = 1e-6
"""Epochs are quotients: a step that ends so close behind a whole one belongs to it."""

NOTHING = np.empty((0, 0), np.float32)


class Curve(NamedTuple):
    """One measure of all workers.

    Args:
        columns: (points,) the last step, as a column of the grid, that each point speaks of.
        values: (workers, points) float32, NaN where unknown: at a step its value, else the mean over its examples.
        band: the spread over the workers at each point.
        steps: how many steps of workers are in it.
    """

    columns: Places
    values: Floats
    band: Band
    steps: int


_curves: Remembered[tuple[Hashable, Curve]] = Remembered(most=16)
_placements: Remembered[tuple[Hashable, Placement]] = Remembered(most=24)


def curve(snapshot: RunSnapshot, measure: Measure, level: Level) -> Curve:
    """The measure of all workers, at that level."""
    name = (snapshot.source.name, snapshot.run.run_id, measure, level)
    found = _kept(_curves, name, snapshot, lambda: _make_curve(snapshot, measure, level))
    return found if level != "step" else found._replace(values=_steps_at(_values(snapshot, measure), found.columns))


def placement(snapshot: RunSnapshot, axis: Axis) -> Placement:
    """Where steps and rounds lie."""
    name = (snapshot.source.name, snapshot.run.run_id, axis)
    return _kept(_placements, name, snapshot, lambda: place(snapshot, axis))


def _kept[V](
    remembered: Remembered[tuple[Hashable, V]], name: Hashable, snapshot: RunSnapshot, make: Callable[[], V]
) -> V:
    """The result of that name, made anew if the run is another one by now."""
    run = snapshot.run
    made_of = (snapshot.revision, snapshot.newest_at, run.created_at, run.version, snapshot.columns)
    last = remembered.peek(name)
    if last is not None and last[0] == made_of:
        return last[1]
    return remembered.put(name, (made_of, make()))[1]


def _make_curve(snapshot: RunSnapshot, measure: Measure, level: Level) -> Curve:
    values = _values(snapshot, measure)
    columns = np.arange(values.shape[1])
    if level != "step":
        starts = _starts(snapshot, level)
        columns = np.append(starts[1:], values.shape[1])[: len(starts)] - 1
        values = means(values, snapshot.steps.examples, starts)
    spread = band(values)
    there = spread.known > 0
    if not there.all():  # a round that came out shorter than it was planned
        columns, values = columns[there], values[:, there]
        spread = Band(*(part[there] for part in spread))
    # A window into the grid must not be kept, since steps done again change in it, and a copy is as large as the grid.
    return Curve(columns, NOTHING if level == "step" else values, spread, int(spread.known.sum()))


def _values(snapshot: RunSnapshot, measure: Measure) -> Floats:
    """A window into the grid: (workers, columns)."""
    return snapshot.steps.loss if measure == "loss" else snapshot.steps.accuracy


def _steps_at(values: Floats, columns: Places) -> Floats:
    """Some columns; a window where it is all of them."""
    return values if len(columns) == values.shape[1] else values[:, columns]


def _starts(snapshot: RunSnapshot, level: Level) -> Places:
    """The first column of each point."""
    groups = snapshot.steps.round_index
    if level == "epoch":
        groups = np.ceil(placement(snapshot, "epoch").columns - ALMOST).astype(np.int32)
    found: Places = np.flatnonzero(np.diff(groups, prepend=groups[:1] - 1))
    return found
