"""The few figures that say how a run learns. Pure."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import NamedTuple

from contracts.records import RoundRecord
from dashboard.queries.run_data import RunSnapshot
from dashboard.views.curves import curve

RECENT_ROUNDS = 5


class Reading(NamedTuple):
    """A figure and what it was one reading before; None where it is not known."""

    value: float | None
    before: float | None = None
    round_index: int | None = None

    @property
    def change(self) -> float | None:
        """By how much it has changed."""
        return None if self.value is None or self.before is None else self.value - self.before


class Headline(NamedTuple):
    """The metrics on top.

    Args:
        loss: mean training loss of the last round, or while there is none the median worker's last step.
        validation: of the newest validated parameters: accuracy, or loss where `has_accuracy` is false.
        best: of the best ones.
        examples_per_s: all workers together, in the median of the last rounds.
    """

    loss: Reading
    validation: Reading
    best: Reading
    has_accuracy: bool
    examples_per_s: float | None


def headline(snapshot: RunSnapshot) -> Headline:
    """The figures of a run as it stands."""
    run, rounds = snapshot.run, snapshot.rounds
    has_accuracy = any("val/accuracy" in record.metrics for record in rounds) or "val_accuracy" in run.results
    best = Reading(None)
    if run.best is not None:
        best = Reading(run.best.value if has_accuracy else -run.best.value, round_index=run.best.round_index)
    return Headline(
        loss=_loss(snapshot),
        validation=_validation(snapshot, "accuracy" if has_accuracy else "loss"),
        best=best,
        has_accuracy=has_accuracy,
        examples_per_s=_examples_per_s(rounds),
    )


def _loss(snapshot: RunSnapshot) -> Reading:
    known = [(record.metrics["train/loss"], record.round_index) for record in snapshot.rounds[-2:]]
    if not known:
        steps = curve(snapshot, "loss", "step").band.median
        return Reading(float(steps[-1]) if len(steps) else None)
    return Reading(known[-1][0], known[0][0] if len(known) > 1 else None, known[-1][1])


def _validation(snapshot: RunSnapshot, measure: str) -> Reading:
    """The newest ones, and those of other parameters before them."""
    run, name = snapshot.run, f"val/{measure}"
    found = [(record.round_index - 1, record.metrics[name]) for record in snapshot.rounds if name in record.metrics]
    last = run.results.get(f"val_{measure}")
    if isinstance(last, float) and run.final_round is not None and all(run.final_round != at for at, _ in found):
        found.append((run.final_round, last))
    if not found:
        return Reading(None)
    return Reading(found[-1][1], found[-2][1] if len(found) > 1 else None, found[-1][0])


def _examples_per_s(rounds: tuple[RoundRecord, ...]) -> float | None:
    """The median of the last rounds, so that a pause between two of them does not count."""
    rates = [
        after.examples / (after.committed_at - before.committed_at)
        for before, after in pairwise(rounds[-RECENT_ROUNDS - 1 :])
        if after.committed_at > before.committed_at
    ]
    return median(rates) if rates else None
