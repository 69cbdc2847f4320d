"""The bill of a run's snapshot, made once for as long as nothing changes. Pure but for what it remembers."""

from __future__ import annotations

from typing import NamedTuple

from dashboard.queries.run_data import RunSnapshot
from dashboard.views.remembered import Remembered
from runs.bill import Bill, make_bill

LEAST_S = 4.0
"""A bill goes through every task of the run: while it trains, a new one is made this often at most."""


class Made(NamedTuple):
    """A bill, and of what it was made."""

    revision: int
    status: str
    at: float
    bill: Bill


_made: Remembered[Made] = Remembered()


def run_bill(snapshot: RunSnapshot, now: float, remembered: Remembered[Made] = _made) -> Bill:
    """What `lambdafit cost` says of the run, in the prices of the place that it is in.

    Args:
        now: seconds since 1970; of a run that goes on the bill may be up to `LEAST_S` older.
    """
    run, source = snapshot.run, snapshot.source
    name = (source.name, run.run_id)

    def make() -> Made:
        bill = make_bill(snapshot.history(), now, architecture=source.architecture, region=source.region)
        return Made(snapshot.revision, run.status, now, bill)

    last = remembered.peek(name)
    if last is not None and last.status == run.status:
        is_same = last.revision == snapshot.revision and (run.ended or not snapshot.conducted)
        if is_same or (not run.ended and 0 <= now - last.at < LEAST_S):
            return last.bill
    return remembered.put(name, make()).bill
