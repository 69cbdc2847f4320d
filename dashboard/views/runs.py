"""The list of runs: how each one stands, which to show as cards, which fit a search. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from contracts.records import Run
from dashboard.queries.collector import RunsSnapshot
from dashboard.queries.round_curves import RoundCurve
from runs import words
from runs.summary import UNATTENDED_GAP_S

MAX_CARDS = 12
NEWEST_CARDS = 4
OPEN_CARDS = 4
"""So many of those that nobody works on, though they have not ended, are shown besides."""

STATUSES = ("running", "interrupted", "not started", "finished", "failed", "stopped")
ACTIVE = frozenset({"running", "interrupted", "not started"})
SPARK_POINTS = 60
DAY_S = 86_400.0


class RunRow(NamedTuple):
    """One run, as a card or a line shows it.

    Args:
        accuracy: of the test set, or as last validated; None where not known.
        loss: the training loss of the newest round; None before the first.
        elapsed_s: from its start to its end, or to now; None where nobody knows when its work was interrupted.
        about: what it failed of, or how it ended.
        created_at: seconds since 1970.
        found_by: what a search looks at.
    """

    run_id: str
    recipe: str
    status: str
    workers: int
    rounds: int
    total_rounds: int | None
    accuracy: float | None
    loss: float | None
    elapsed_s: float | None
    cost_usd: float
    created_at: float
    about: str
    found_by: str

    @property
    def can_resume(self) -> bool:
        """Whether it could go on from its checkpoint."""
        return self.status not in ("running", "finished")

    @property
    def can_remove(self) -> bool:
        """Whether nobody works on it."""
        return self.status != "running"

    @property
    def share(self) -> float | None:
        """How far it is: 0 … 1; None before that is known."""
        return min(1.0, self.rounds / self.total_rounds) if self.total_rounds else None

    @property
    def round_text(self) -> str:
        """`3 of 60`."""
        return f"{self.rounds:,} of {self.total_rounds:,}" if self.total_rounds else "–"

    @property
    def accuracy_text(self) -> str:
        """`94.1 %`."""
        return "–" if self.accuracy is None else f"{self.accuracy:.1%}".replace("%", " %")

    @property
    def elapsed_text(self) -> str:
        """`3 min 12 s`."""
        return "–" if self.elapsed_s is None else words.duration(self.elapsed_s)


def run_rows(runs: RunsSnapshot, now: float) -> list[RunRow]:
    """All runs, newest first.

    Args:
        now: seconds since 1970.
    """
    return [_row(run, run.run_id in runs.conducted, now) for run in runs.runs]


def _row(run: Run, conducted: bool, now: float) -> RunRow:
    status = words.status(run, conducted)
    about = run.error.message if run.error is not None and run.status == "FAILED" else ""
    if not about and run.ended:
        about = words.ending(run)
    recipe = words.recipe(run)
    found_by = f"{run.run_id} {recipe} {run.settings.dataset} {status} {about}"
    return RunRow(
        run_id=run.run_id,
        recipe=recipe,
        status=status,
        workers=run.settings.workers,
        rounds=max(0, run.round_index - 1),
        total_rounds=run.plan.total_rounds if run.plan else None,
        accuracy=_accuracy(run),
        loss=run.train_loss,
        elapsed_s=_elapsed_s(run, conducted, now),
        cost_usd=run.spent_usd,
        created_at=run.created_at,
        about=about,
        found_by=found_by.casefold(),
    )


def _accuracy(run: Run) -> float | None:
    known = (run.results.get("test_accuracy"), run.results.get("val_accuracy"), run.validation.get("val/accuracy"))
    return next((float(value) for value in known if value is not None), None)


def _elapsed_s(run: Run, conducted: bool, now: float) -> float | None:
    if not run.started_at:
        return None
    if run.ended:
        return max(0.0, run.ended_at - run.started_at)
    return max(0.0, now - run.started_at) if conducted else None


def attended_s(row: RunRow, curve: RoundCurve) -> float | None:
    """How long somebody worked at a run; None where it was left alone in between: rounds do not tell how long."""
    was_left = any(after - before > UNATTENDED_GAP_S for before, after in pairwise(curve.committed_at))
    return None if was_left else row.elapsed_s


def filtered(rows: Sequence[RunRow], text: str, statuses: Collection[str]) -> list[RunRow]:
    """Those that have every word of a search, and one of these statuses (all, if there are none)."""
    asked = text.casefold().split()
    return [
        row for row in rows if (not statuses or row.status in statuses) and all(word in row.found_by for word in asked)
    ]


def statuses_of(rows: Sequence[RunRow]) -> dict[str, int]:
    """How many runs have each status, in the order in which they ask for attention."""
    counts = {status: sum(row.status == status for row in rows) for status in STATUSES}
    return {status: count for status, count in counts.items() if count}


def cards(rows: Sequence[RunRow]) -> list[RunRow]:
    """Those to show as cards: the newest, those at work, and some that wait; newest first, at most `MAX_CARDS`."""
    running = [row for row in rows if row.status == "running"]
    open_ones = [row for row in rows if row.status in ACTIVE and row.status != "running"]
    wanted = [row.run_id for row in (*rows[:NEWEST_CARDS], *running, *open_ones[:OPEN_CARDS])]
    chosen = frozenset(list(dict.fromkeys(wanted))[:MAX_CARDS])
    return [row for row in rows if row.run_id in chosen]


def spark(curve: RoundCurve) -> list[float]:
    """The training loss by round as a little curve: thinned out to about `SPARK_POINTS`, the newest kept."""
    losses = curve.losses
    step = max(1, -(-len(losses) // SPARK_POINTS))
    return [*losses[:-1:step], losses[-1]] if losses else []


def table(rows: Sequence[RunRow], curves: Mapping[str, RoundCurve]) -> dict[str, list[object]]:
    """The rows as columns.

    Args:
        curves: of those runs that have one; run id → curve.
    """
    return {
        "run": [row.run_id for row in rows],
        "recipe": [row.recipe for row in rows],
        "status": [row.status for row in rows],
        "workers": [row.workers for row in rows],
        "rounds": [None if row.share is None else row.share * 100 for row in rows],
        "train loss": [row.loss for row in rows],
        "curve": [spark(curves.get(row.run_id, RoundCurve())) for row in rows],
        "accuracy": [row.accuracy for row in rows],
        "elapsed": [row.elapsed_s for row in rows],
        "cost": [row.cost_usd for row in rows],
        "created": [row.created_at * 1000 for row in rows],
    }


def when(moment: float, now: float) -> str:
    """How long ago, in words. Both in seconds since 1970."""
    ago_s = max(0.0, now - moment)
    if ago_s < 60:
        return "just now"
    if ago_s < 3600:
        return f"{ago_s / 60:.0f} min ago"
    if ago_s < DAY_S:
        return f"{ago_s / 3600:.0f} h ago"
    days = round(ago_s / DAY_S)
    return f"{days:,} day{'' if days == 1 else 's'} ago"
