"""A measure of all workers as points along a run: a point a step, a round or an epoch, and their spread. Pure.

Costly for many workers, so kept for each run as long as nothing has changed.
"""

from __future__ import annotations

from collections.abc import Hashable
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


_curves: Remembered[Curve] = Remembered(most=16)
_placements: Remembered[Placement] = Remembered(most=16)


def curve(snapshot: RunSnapshot, measure: Measure, level: Level) -> Curve:
    """The measure of all workers, at that level."""
    name = (snapshot.run.run_id, measure, level)
    return _curves.get(name, _made_of(snapshot), lambda: _make_curve(snapshot, measure, level))


def placement(snapshot: RunSnapshot, axis: Axis) -> Placement:
    """Where steps and rounds lie."""
    return _placements.get((snapshot.run.run_id, axis), _made_of(snapshot), lambda: place(snapshot, axis))


def _made_of(snapshot: RunSnapshot) -> Hashable:
    run = snapshot.run
    return snapshot.revision, snapshot.newest_at, run.created_at, run.version, len(snapshot.steps.round_index)


def _make_curve(snapshot: RunSnapshot, measure: Measure, level: Level) -> Curve:
    steps = snapshot.steps
    values = steps.loss if measure == "loss" else steps.accuracy  # (workers, columns)
    columns = np.arange(values.shape[1])
    if level != "step":
        starts = _starts(snapshot, level)
        columns = np.append(starts[1:], values.shape[1])[: len(starts)] - 1
        values = means(values, steps.examples, starts)
    spread = band(values)
    there = spread.known > 0
    if not there.all():  # a round that came out shorter than it was planned
        columns, values = columns[there], values[:, there]
        spread = Band(*(part[there] for part in spread))
    # A window into the grid must not be kept: steps done again change in it. It is cheap to copy.
    return Curve(columns, values if values.base is None else values.copy(), spread, int(spread.known.sum()))


def _starts(snapshot: RunSnapshot, level: Level) -> Places:
    """The first column of each point."""
    groups = snapshot.steps.round_index
    if level == "epoch":
        groups = np.ceil(placement(snapshot, "epoch").columns - ALMOST).astype(np.int32)
    found: Places = np.flatnonzero(np.diff(groups, prepend=groups[:1] - 1))
    return found
