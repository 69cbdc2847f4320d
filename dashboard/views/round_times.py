"""When each worker began and ended its part of each round, and how long it then waited for the others. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.records import RoundRecord
from dashboard.views.lanes import COMBINE, TRAIN
from dashboard.views.task_rows import DONE

Floats = npt.NDArray[np.float64]


class RoundTimes(NamedTuple):
    """Seconds since 1970, NaN for what has not happened; column = round, of which 0 stays empty.

    **The wait at the barrier** of a worker in a round goes from the end of its accepted report to the first claim of a
    combine task after the last worker's accepted report; to the round's commit where no such claim is known; to
    `newest` while the round is under way. So what the workers wait while their updates are combined is no part of it:
    that is `commit` − `combine`.

    Args:
        first: (workers, rounds) when the worker's first attempt was claimed.
        done: (workers, rounds) when its accepted report was in.
        combine: (rounds,) the end of the wait.
        commit: (rounds,) when the round was committed.
        newest: the newest moment that is known.
    """

    first: Floats
    done: Floats
    combine: Floats
    commit: Floats
    newest: float

    @property
    def all_done(self) -> Floats:
        """(rounds,) when the last worker's accepted report was in; NaN while one is missing."""
        return np.asarray(self.done.max(axis=0, initial=-np.inf) if len(self.done) else self.commit * np.nan)

    @property
    def wait_until(self) -> Floats:
        """(rounds,) when the wait of those that are done ends, or how far it is known."""
        until = np.where(np.isnan(self.combine), self.commit, self.combine)
        return np.where(np.isnan(until), self.newest, until)

    @property
    def began(self) -> Floats:
        """(rounds,) from the commit of the round before, or its first claim where none is known before."""
        first = np.fmin.reduce(self.first, axis=0, initial=np.nan)
        before = np.concatenate([[np.nan], self.commit[:-1]])
        return np.asarray(np.where(np.isnan(before), first, np.fmin(before, first)))

    @property
    def committed(self) -> npt.NDArray[np.intp]:
        """The indices of the rounds that are."""
        return np.flatnonzero(~np.isnan(self.commit))


def round_times(attempts: npt.NDArray[Any], records: Sequence[RoundRecord], workers: int, newest: float) -> RoundTimes:
    """The times of all rounds.

    Args:
        attempts: rows of `task_rows.ATTEMPT`.
    """
    mine = attempts[(attempts["kind"] == TRAIN) & (attempts["index"] < workers)]
    rounds = 1 + max([0, *(record.round_index for record in records[-1:]), int(mine["round"].max(initial=0))])
    first, done = np.full((workers, rounds), np.nan), np.full((workers, rounds), np.nan)
    np.fmin.at(first, (mine["index"], mine["round"]), mine["start"])
    good = mine[mine["outcome"] == DONE]
    np.fmax.at(done, (good["index"], good["round"]), good["end"])
    commit = np.full(rounds, np.nan)
    commit[[record.round_index for record in records]] = [record.committed_at for record in records]
    times = RoundTimes(first, done, np.full(rounds, np.nan), commit, newest)
    combines = attempts[(attempts["kind"] == COMBINE) & (attempts["round"] < rounds)]
    counting = combines[combines["start"] >= times.all_done[combines["round"]]]  # those before saw a torn update
    np.fmin.at(times.combine, counting["round"], counting["start"])
    return times
