"""How a run learns: loss or accuracy of its workers, validation, checkpoints, along steps, epochs or time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.records import Run
from dashboard.queries.run_data import RunSnapshot
from dashboard.views.axes import TITLES, Axis, Placement
from dashboard.views.bands import Band, smoothed
from dashboard.views.curves import Curve, Level, Measure, curve, placement
from runs.words import count, duration

Floats = npt.NDArray[Any]
MOST_WORKERS = 8


class Choices(NamedTuple):
    """What somebody wants to see. `smoothing` is the weight of what was before, 0 … below 1."""

    level: Level = "step"
    axis: Axis = "step"
    workers: tuple[int, ...] = ()
    smoothing: float = 0.0
    log: bool = False


class Line(NamedTuple):
    """One line, (points,) each.

    Args:
        worker: None for the median.
        points: which of the band's points these are.
        smooth: None where nothing is smoothed.
    """

    name: str
    worker: int | None
    points: npt.NDArray[np.int64]
    x: Floats
    raw: Floats
    smooth: Floats | None


class Validated(NamedTuple):
    """Validation of checkpoints, at the place where each was combined: (checkpoints,) each."""

    x: Floats
    values: Floats
    rounds: npt.NDArray[np.int64]


class MeasureView(NamedTuple):
    """One chart.

    Args:
        x: (points,) of the band, which is None with one worker.
        lines: the median, or the only worker, first.
        best: x, value and round of the best checkpoint.
        combined: (rounds,) where rounds were combined, in order.
        all_steps: how many steps of workers there are.
        missing: why there is nothing to draw; empty where there is something.
    """

    measure: Measure
    choices: Choices
    x_title: str
    workers: int
    x: Floats
    band: Band | None
    lines: tuple[Line, ...]
    validated: Validated
    best: tuple[float, float, int] | None
    target: float | None
    combined: Floats
    all_steps: int
    missing: str


def measure_view(snapshot: RunSnapshot, measure: Measure, choices: Choices) -> MeasureView:
    """One measure of a run, as it was chosen to be seen."""
    run = snapshot.run
    found, places = curve(snapshot, measure, choices.level), placement(snapshot, choices.axis)
    x = places.columns[found.columns]  # (points,)
    validated = validations(snapshot, measure, places)
    empty = not len(x) and not len(validated.x)
    return MeasureView(
        measure=measure,
        choices=choices,
        x_title=TITLES[choices.axis],
        workers=run.settings.workers,
        x=x,
        band=found.band if run.settings.workers > 1 and len(x) else None,
        lines=tuple(_lines(snapshot, found, places, x, choices)),
        validated=validated,
        best=_best(run, validated),
        target=run.settings.target_accuracy if measure == "accuracy" else None,
        combined=np.array([x for index, x in places.rounds.items() if index > 0]),
        all_steps=found.steps,
        missing=_missing(snapshot, measure) if empty else "",
    )


def validations(snapshot: RunSnapshot, measure: Measure, places: Placement) -> Validated:
    """The validated checkpoints. A round validates the parameters that it begins with: those of the round before it."""
    run = snapshot.run
    found = {
        record.round_index - 1: record.metrics[f"val/{measure}"]
        for record in snapshot.rounds
        if f"val/{measure}" in record.metrics and record.round_index - 1 in places.rounds
    }
    last = run.results.get(f"val_{measure}")  # of the parameters that the run ended with
    if isinstance(last, float) and run.final_round in places.rounds:
        found.setdefault(run.final_round, last)
    rounds = sorted(found)
    return Validated(
        np.array([places.rounds[index] for index in rounds], np.float64),
        np.array([found[index] for index in rounds], np.float64),
        np.array(rounds, np.int64),
    )


def cut_words(places: Placement) -> str:
    """What was left out of a time axis; empty where nothing was."""
    if not places.cuts:
        return ""
    seconds = sum(cut.seconds for cut in places.cuts)
    return (
        f"{count(len(places.cuts), 'pause')} in which nobody worked on the run, {duration(seconds)} in all, left out."
    )


def _lines(snapshot: RunSnapshot, found: Curve, places: Placement, x: Floats, choices: Choices) -> Sequence[Line]:
    if not len(x):
        return []
    workers = snapshot.run.settings.workers
    name, worker = ("worker 0", 0) if workers == 1 else (f"median of {workers:,} workers", None)
    lines = [_line(name, worker, np.arange(len(x)), x, found.band.median, choices)]
    chosen = [worker for worker in choices.workers[:MOST_WORKERS] if 0 <= worker < workers] if workers > 1 else []
    for worker in chosen:
        own = _own_times(snapshot, worker, found, places) if places.clock and choices.level == "step" else x
        there = np.flatnonzero(~np.isnan(found.values[worker]) & ~np.isnan(own))
        lines.append(_line(f"worker {worker}", worker, there, own[there], found.values[worker][there], choices))
    return lines


def _line(
    name: str, worker: int | None, points: npt.NDArray[np.int64], x: Floats, values: Floats, choices: Choices
) -> Line:
    smooth = smoothed(values, choices.smoothing) if choices.smoothing > 0 else None
    return Line(name, worker, points, x, values, smooth)


def _own_times(snapshot: RunSnapshot, worker: int, found: Curve, places: Placement) -> Floats:
    """When the worker itself ended each step. NaN for steps that it will do again: later ones are there already."""
    assert places.clock is not None  # noqa: S101 - asked on the time axis only
    when = places.clock.of(snapshot.steps.at[worker][found.columns])
    return np.where(when >= np.fmax.accumulate(when), when, np.nan)


def _best(run: Run, validated: Validated) -> tuple[float, float, int] | None:
    if run.best is None:
        return None
    at = np.flatnonzero(validated.rounds == run.best.round_index)
    return (float(validated.x[at[0]]), float(validated.values[at[0]]), run.best.round_index) if len(at) else None


def _missing(snapshot: RunSnapshot, measure: Measure) -> str:
    run = snapshot.run
    if measure == "accuracy" and run.data_facts and not run.data_facts.get("classes"):
        return "This recipe predicts numbers, not classes: it has no accuracy. Its loss says how good it is."
    if run.ended:
        return f"The run ended before it had any {measure} to show."
    if measure == "accuracy" and snapshot.columns:
        return "This run records no accuracy of its steps; that of the first validation has not come in yet."
    return "The first steps have not come in yet: functions start, data is read, the model is built."
