"""The line over every page: which run, how it stands, and how fresh that is. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from contracts.records import Run
from dashboard.queries.run_data import RunSnapshot
from dashboard.views.axes import attended_clock
from runs import budget, words
from runs.summary import UNATTENDED_GAP_S

SIGNS = {"running": "▶", "finished": "✔", "failed": "✖", "stopped": "■", "interrupted": "‖", "not started": "○"}
"""A status' sign beside its word: a colour alone tells nobody enough."""

STALE_S = 40.0
"""Without news for so long, a run that should be running is called stale."""


class Facts(NamedTuple):
    """What the line shows. `elapsed_s` and `age_s` go on counting in the browser while `counting`."""

    run_id: str
    recipe: str
    status: str
    sign: str
    doing: str
    round: str
    epoch: str
    quality: str
    cost: str
    elapsed_s: float
    age_s: float
    stale_s: float
    counting: bool


def facts(snapshot: RunSnapshot, now: float) -> Facts:
    """The line for a run.

    Args:
        now: seconds since 1970.
    """
    run = snapshot.run
    status = words.status(run, snapshot.conducted)
    current = snapshot.current_tasks
    return Facts(
        run_id=run.run_id,
        recipe=words.recipe(run),
        status=status,
        sign=SIGNS[status],
        doing=_doing(snapshot),
        round=_round(snapshot),
        epoch=_epoch(run),
        quality=_quality(run),
        cost=words.usd(budget.spent_usd(run, current)),
        elapsed_s=elapsed_s(snapshot, now),
        age_s=max(0.0, now - snapshot.newest_at),
        stale_s=STALE_S,
        counting=status == "running",
    )


def _doing(snapshot: RunSnapshot) -> str:
    run = snapshot.run
    if run.ended:
        return words.ending(run).partition(": ")[2]
    return words.phase(run, snapshot.current_tasks, told_blocks=snapshot.told_blocks)


def elapsed_s(snapshot: RunSnapshot, now: float) -> float:
    """How long somebody has worked at the run: without the time between a stop and a resumption.

    Attempts are looked at only where there was a long silence between two rounds.
    """
    run = snapshot.run
    if not run.started_at:
        return 0.0
    points = _points(snapshot, now)
    if all(after - before <= UNATTENDED_GAP_S for before, after in pairwise(points)):
        return points[-1] - points[0]
    return attended_clock(snapshot, points[-1]).length_s


def _points(snapshot: RunSnapshot, now: float) -> Sequence[float]:
    run = snapshot.run
    end = run.ended_at or (now if snapshot.conducted else snapshot.newest_at)
    commits = (record.committed_at for record in snapshot.rounds if record.committed_at > run.started_at)
    return [run.started_at, *commits, max(end, run.started_at)]


def _round(snapshot: RunSnapshot) -> str:
    plan, done = snapshot.run.plan, snapshot.rounds[-1].round_index if snapshot.rounds else 0
    return f"{done:,} of {plan.total_rounds:,}" if plan else "–"


def _epoch(run: Run) -> str:
    return f"{run.examples_seen / run.plan.examples:.1f}" if run.plan and run.plan.examples else "–"


def _quality(run: Run) -> str:
    """The best known figure of the newest parameters: the test set's once it has been touched."""
    for figures, accuracy, loss, name in (
        (run.results, "test_accuracy", "test_loss", "test"),
        (run.validation, "val/accuracy", "val/loss", "validation"),
    ):
        if isinstance(figures.get(accuracy), float):
            return f"{name} accuracy {figures[accuracy]:.4f}"
        if isinstance(figures.get(loss), float):
            return f"{name} loss {figures[loss]:.4f}"
    return ""
