"""How many seconds the workers spent in each phase, on the mean of a round or of the whole run. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dashboard.views import phases
from dashboard.views.stragglers import span_seconds
from dashboard.views.timeline import Timeline

MOST_COLUMNS = 200
Floats = npt.NDArray[np.float64]


class MeanPhases(NamedTuple):
    """Seconds by phase, to be stacked.

    Args:
        x: (columns,) the first round of each column, or the worker.
        seconds: (phases, columns) by code of `phases.NAMES`.
        rounds_a_column: how many rounds each column is the mean of; the last one may have fewer.
        all_x, all_seconds: the same without any rounds put together.
    """

    x: npt.NDArray[np.int64]
    seconds: Floats
    rounds_a_column: int
    all_x: npt.NDArray[np.int64]
    all_seconds: Floats

    @property
    def used(self) -> list[int]:
        """The codes that occur."""
        return [int(code) for code in np.flatnonzero(self.all_seconds.sum(axis=1) > 0)]


def by_round(timeline: Timeline, most: int = MOST_COLUMNS) -> MeanPhases:
    """Seconds a worker, on the mean of all workers, in each committed round.

    A column is as high as its round took, from the commit before to its own; higher where cold starts began before
    that. "Combine" is from the first combine claim to the commit; "no function" is the rest: waiting for one's turn,
    or for a function to start.
    """
    rounds = timeline.rounds.committed
    seconds = _round_seconds(timeline)[:, rounds]
    together = max(1, -(-len(rounds) // most))
    starts = np.arange(0, len(rounds), together)
    sums = np.add.reduceat(seconds, starts, axis=1) if len(starts) else seconds
    counts = np.diff(np.append(starts, len(rounds)))
    return MeanPhases(rounds[starts], sums / np.maximum(counts, 1), together, rounds, seconds)


def by_worker(timeline: Timeline) -> MeanPhases:
    """Seconds of each worker in each phase over the whole run; "no function" is the rest of the attended time.

    It holds the time in which the updates are combined, too: no worker is at work then.
    """
    seconds = span_seconds(timeline).T.copy()
    seconds[phases.IDLE_CODE] = np.maximum(0.0, timeline.axis.length_s - seconds.sum(axis=0))
    workers = np.arange(timeline.lanes.workers)
    return MeanPhases(workers, seconds, 1, workers, seconds)


def _round_seconds(timeline: Timeline) -> Floats:
    """(phases, rounds); the columns of rounds that are not committed mean nothing."""
    times, bars, axis = timeline.rounds, timeline.bars, timeline.axis
    rounds, codes, workers = len(times.commit), len(phases.NAMES), timeline.lanes.workers
    mine = (bars.lane < workers) & (bars.round < rounds)  # spans may have come in before their task was read
    place = bars.phase[mine].astype(np.int64) * rounds + bars.round[mine]
    seconds = np.bincount(place, (bars.end_s - bars.start_s)[mine], codes * rounds).reshape(codes, rounds) / workers
    commit = axis.of(times.commit)
    seconds[phases.COMBINE] += np.nan_to_num(commit - axis.of(times.wait_until))
    lasted = np.nan_to_num(commit - axis.of(times.began))
    seconds[phases.IDLE_CODE] = np.maximum(0.0, lasted - seconds.sum(axis=0))
    return seconds
