"""One worker's attempts, the newest first. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dashboard.views.stragglers import WorkerTable
from dashboard.views.task_rows import AT_WORK, OUTCOMES
from dashboard.views.timeline import Timeline
from runs import words

MOST_SHOWN = 500
OUTCOME_WORDS = {
    "paused": "handed over at the time limit",
    "failed": "✖ failed",
    "lost": "✖ lost: ended without a report",
    "superseded": "refused: a backup took over",
}


class WorkerAttempts(NamedTuple):
    """Columns of equal length, one place an attempt. `start_s` is in attended seconds; a cost is NaN while at work."""

    round: list[int]
    attempt: list[int]
    outcome: list[str]
    start_s: list[float]
    duration_s: list[float]
    cost_usd: list[float]
    request_id: list[str]
    all_attempts: int


def attempts_of(timeline: Timeline, worker: int, most: int = MOST_SHOWN) -> WorkerAttempts:
    """The attempts of a worker, the newest first."""
    attempts = timeline.attempts
    places = np.flatnonzero(attempts.lane == worker)
    every = len(places)
    places = places[np.argsort(-attempts.rows["start"][places], kind="stable")][:most]
    rows = attempts.rows[places]
    names = [OUTCOMES[code] for code in rows["outcome"]]
    return WorkerAttempts(
        round=rows["round"].tolist(),
        attempt=rows["attempt"].tolist(),
        outcome=[OUTCOME_WORDS.get(name, name) for name in names],
        start_s=attempts.start_s[places].tolist(),
        duration_s=(attempts.end_s - attempts.start_s)[places].tolist(),
        cost_usd=np.where(rows["outcome"] == AT_WORK, np.nan, rows["cost_usd"]).tolist(),
        request_id=np.char.decode(rows["request_id"], "ascii", "replace").tolist(),
        all_attempts=every,
    )


def summary_of(table: WorkerTable, worker: int) -> str:
    """A worker in one or two sentences. `table` is by worker."""
    slowdown, waited_s = float(table.slowdown[worker]), float(table.waited_s[worker])
    parts = [words.count(int(table.steps[worker]), "step"), words.count(int(table.attempts[worker]), "attempt")]
    for column, noun in ((table.pauses, "hand-over"), (table.failures, "failure"), (table.superseded, "refused")):
        if column[worker]:
            parts.append(words.count(int(column[worker]), noun, noun if noun == "refused" else ""))
    text = f"Worker {worker}: {', '.join(parts)}, {words.usd(float(table.cost_usd[worker]))}."
    if not np.isnan(slowdown):
        text += f" {slowdown:.2f} times the median time of a round; waited {words.duration(waited_s)} for others."
    return text
