"""Runs side by side: their curves by epoch, time and cost, what it took them to an accuracy, how they differ. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from dashboard.queries.run_data import RunSnapshot
from dashboard.views import cost
from dashboard.views.convergence import validations
from dashboard.views.curves import placement
from dashboard.views.header import elapsed_s
from runs import budget, words

Shown = Literal["val/accuracy", "val/loss", "train/loss"]
Along = Literal["epoch", "time", "cost"]
SHOWN: tuple[Shown, ...] = ("val/accuracy", "val/loss", "train/loss")
ALONG: tuple[Along, ...] = ("epoch", "time", "cost")
Floats = npt.NDArray[Any]

ABSENT = "–"
"""A setting that the run's recipe does not have, or a figure that is not known."""

DIGITS = 4


class RunCurve(NamedTuple):
    """One measure of one run, (points,) each.

    Args:
        rounds: whose parameters each value belongs to.
    """

    run_id: str
    name: str
    x: Floats
    values: Floats
    rounds: npt.NDArray[np.int64]


class Reached(NamedTuple):
    """What it took a run to an accuracy; None where it has not reached it, or the figure is not known.

    Args:
        best: the highest that it had; None where it has validated no accuracy.
        value: the first one at or above the target.
    """

    run_id: str
    best: float | None
    value: float | None = None
    round_index: int | None = None
    epochs: float | None = None
    seconds: float | None = None
    usd: float | None = None


class Finals(NamedTuple):
    """How a run stands, or ended."""

    run_id: str
    recipe: str
    workers: int
    status: str
    rounds: int
    epochs: float | None
    train_loss: float | None
    val_loss: float | None
    val_accuracy: float | None
    test_accuracy: float | None
    elapsed_s: float
    cost_usd: float
    parameters_sha256: str


class Setting(NamedTuple):
    """One setting of all runs, in their order."""

    name: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether not all runs have the same."""
        return len(set(self.values)) > 1


def run_curve(snapshot: RunSnapshot, shown: Shown, along: Along) -> RunCurve:
    """One measure of one run, along one axis."""
    places = _places(snapshot, along)
    run = snapshot.run
    name = f"{run.run_id} {words.recipe(run)}, {words.count(run.settings.workers, 'worker')}"
    if shown == "train/loss":
        found = [(record.round_index, record.metrics[shown]) for record in snapshot.rounds if shown in record.metrics]
        rounds = np.array([index for index, _ in found], np.int64)
        x = np.array([places[index] for index, _ in found], np.float64)
        return RunCurve(run.run_id, name, x, np.array([value for _, value in found], np.float64), rounds)
    # On the axis of epochs every committed round has its place, and the others share its rounds.
    checkpoints = validations(snapshot, "accuracy" if shown == "val/accuracy" else "loss", placement(snapshot, "epoch"))
    x = np.array([places[int(index)] for index in checkpoints.rounds], np.float64)
    return RunCurve(run.run_id, name, x, checkpoints.values, checkpoints.rounds)


def reached(snapshot: RunSnapshot, target: float) -> Reached:
    """What it took to the first validated parameters with at least that accuracy: until these were combined."""
    accuracies = run_curve(snapshot, "val/accuracy", "epoch")
    run_id = snapshot.run.run_id
    if not len(accuracies.values):
        return Reached(run_id, None)
    best = float(accuracies.values.max())
    there = np.flatnonzero(accuracies.values >= target)
    if not len(there):
        return Reached(run_id, best)
    index = int(accuracies.rounds[there[0]])
    epochs, seconds, usd = (_places(snapshot, along)[index] for along in ALONG)
    return Reached(run_id, best, float(accuracies.values[there[0]]), index, epochs, seconds, usd)


def common_target(snapshots: Sequence[RunSnapshot]) -> float | None:
    """The highest accuracy, to four digits, that all of those reached that have one; None where none has."""
    bests = [best for snapshot in snapshots if (best := reached(snapshot, math.inf).best) is not None]
    return math.floor(min(bests) * 10**DIGITS + 1e-9) / 10**DIGITS if bests else None


def finals(snapshot: RunSnapshot, now: float) -> Finals:
    """The figures that count at the end.

    Args:
        now: seconds since 1970.
    """
    run, results = snapshot.run, snapshot.run.results
    current = snapshot.current_tasks
    return Finals(
        run_id=run.run_id,
        recipe=words.recipe(run),
        workers=run.settings.workers,
        status=words.status(run, snapshot.conducted),
        rounds=snapshot.rounds[-1].round_index if snapshot.rounds else 0,
        epochs=snapshot.rounds[-1].epochs if snapshot.rounds else None,
        train_loss=run.train_loss,
        val_loss=results.get("val_loss", run.validation.get("val/loss")),
        val_accuracy=results.get("val_accuracy", run.validation.get("val/accuracy")),
        test_accuracy=results.get("test_accuracy"),
        elapsed_s=elapsed_s(snapshot, now),
        cost_usd=budget.spent_usd(run, current),
        parameters_sha256=str(results.get("parameters_sha256") or ""),
    )


def same_models(found: Sequence[Finals]) -> list[tuple[str, ...]]:
    """Groups of runs that ended with the same parameters, bit for bit."""
    groups: dict[str, list[str]] = {}
    for final in found:
        if final.parameters_sha256:
            groups.setdefault(final.parameters_sha256, []).append(final.run_id)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def settings_of(snapshots: Sequence[RunSnapshot]) -> list[Setting]:
    """All settings of the runs, those of the recipe and of the outer optimizer among them, and what code ran."""
    flat = [_flat(msgspec.to_builtins(snapshot.run.settings)) for snapshot in snapshots]
    for values, snapshot in zip(flat, snapshots, strict=True):
        values["code version"] = snapshot.run.code_version
        values["numerics"] = snapshot.run.fingerprint
    names = dict.fromkeys(name for values in flat for name in values)
    return [Setting(name, tuple(_text(values.get(name)) for values in flat)) for name in names]


def _places(snapshot: RunSnapshot, along: Along) -> dict[int, float]:
    """Round → where it was combined: epochs, attended seconds since the start, or dollars spent by then."""
    if along != "cost":
        return placement(snapshot, along).rounds
    spent = cost.curve(snapshot.rounds, snapshot.tasks_of(0))
    return {0: spent.before_usd, **dict(zip(spent.round_index.tolist(), spent.total_usd.tolist(), strict=True))}


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found


def _text(value: Any) -> str:
    if value is None or value == "":
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
