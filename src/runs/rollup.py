"""A committed round, and the epoch that it completes, as the few figures that a chart of a whole stack shows. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from contracts.records import RoundRecord, Run

ALMOST = 1e-9
"""Epochs are a quotient: one that is this close to a whole number is one."""

Figures = dict[str, tuple[str, float]]
"""Name → CloudWatch's unit and the value."""


def rounds_needed(run: Run) -> int:
    """How many rounds before a new one must be known, for the round itself and the epoch that it may complete."""
    return 1 + (run.plan.rounds_per_epoch if run.plan else 0)


def round_figures(run: Run, rounds: Sequence[RoundRecord], record: RoundRecord) -> Figures:
    """One round.

    Args:
        run: as it stands by now, perhaps some rounds later.
        rounds: the committed ones in order, `record` among them, and `rounds_needed` before it.
    """
    seconds = record.committed_at - _began_at(run, rounds, record)
    later_usd = sum(other.cost_usd for other in rounds if other.round_index > record.round_index)
    figures: Figures = {"RoundSeconds": ("Seconds", seconds)}
    if seconds > 0:
        figures["ExamplesPerSecond"] = ("Count/Second", record.examples / seconds)
    figures |= _learning(record.metrics)
    figures["RoundCostUsd"] = ("None", record.cost_usd)
    figures["CostSoFarUsd"] = ("None", run.spent_usd - later_usd)
    return _finite(figures)


def epoch_figures(run: Run, rounds: Sequence[RoundRecord], record: RoundRecord) -> Figures:
    """The epoch that the round completes, over all its rounds; nothing where it completes none."""
    before = _before(rounds, record)
    finished = _whole(before.epochs) if before else 0
    if _whole(record.epochs) == finished:
        return {}
    of_epoch = [
        other for other in rounds if other.round_index <= record.round_index and other.epochs > finished + ALMOST
    ]
    examples = sum(other.examples for other in of_epoch)
    seconds = record.committed_at - _began_at(run, rounds, of_epoch[0])
    losses = sum(other.metrics.get("train/loss", math.nan) * other.examples for other in of_epoch)
    figures: Figures = {
        "Epoch": ("Count", float(_whole(record.epochs))),
        "EpochSeconds": ("Seconds", seconds),
        "EpochTrainLoss": ("None", losses / max(1, examples)),
        "EpochCostUsd": ("None", sum(other.cost_usd for other in of_epoch)),
    }
    if seconds > 0:
        figures["EpochExamplesPerSecond"] = ("Count/Second", examples / seconds)
    accuracies = [other.metrics["val/accuracy"] for other in of_epoch if "val/accuracy" in other.metrics]
    if accuracies:
        figures["EpochValidationAccuracy"] = ("None", accuracies[-1])
    return _finite(figures)


def _learning(metrics: dict[str, float]) -> Figures:
    names = {
        "train/loss": "TrainLoss",
        "val/loss": "ValidationLoss",
        "val/accuracy": "ValidationAccuracy",
    }
    return {name: ("None", metrics[metric]) for metric, name in names.items() if metric in metrics}


def _before(rounds: Sequence[RoundRecord], record: RoundRecord) -> RoundRecord | None:
    return next((other for other in rounds if other.round_index == record.round_index - 1), None)


def _began_at(run: Run, rounds: Sequence[RoundRecord], record: RoundRecord) -> float:
    """A round begins when the one before it is committed; the first, preparing included, with the run."""
    before = _before(rounds, record)
    return before.committed_at if before else run.started_at


def _whole(epochs: float) -> int:
    return math.floor(epochs + ALMOST)


def _finite(figures: Figures) -> Figures:
    return {name: (unit, value) for name, (unit, value) in figures.items() if math.isfinite(value)}
