"""The predictions of a run's snapshot, made once for as long as no more come in."""

from __future__ import annotations

from collections.abc import Hashable

from dashboard.queries.run_data import RunSnapshot
from dashboard.views.predictions import Predictions, predictions
from dashboard.views.remembered import Remembered

_made: Remembered[tuple[Hashable, Predictions]] = Remembered()


def recorded_predictions(snapshot: RunSnapshot) -> Predictions:
    """What the run recorded of its predictions so far."""
    run, batches = snapshot.run, snapshot.predictions
    if not batches:
        return predictions(run, (), validated=any("val/loss" in record.metrics for record in snapshot.rounds))
    name = (snapshot.source.name, run.run_id)
    # Batches come in, or replace an older attempt's: the times at which they were made tell both.
    made_of = (run.created_at, len(batches), sum(batch.made_at for batch in batches))
    last = _made.peek(name)
    if last is None or last[0] != made_of:
        last = _made.put(name, (made_of, predictions(run, batches, validated=True)))
    return last[1]
