"""The training loss of whole runs, round by round: for little curves beside many runs. No telemetry is read for it."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from contracts.ports import RunStore
from contracts.records import Run

KEPT_RUNS = 128
TRAIN_LOSS = "train/loss"


class RoundCurve(NamedTuple):
    """One entry a committed round, oldest first. `committed_at` is in s since 1970."""

    losses: tuple[float, ...] = ()
    committed_at: tuple[float, ...] = ()


class RoundCurves:
    """Reads what has been committed since the last time. For one thread at a time; memory is bounded."""

    def __init__(self) -> None:
        self._curves: OrderedDict[tuple[str, float], tuple[int, RoundCurve]] = OrderedDict()

    def read(self, store: RunStore, run: Run) -> RoundCurve:
        """The curve of a run: of one that has no new rounds without a look into the store."""
        last, curve = self._curves.pop((run.run_id, run.created_at), (0, RoundCurve()))
        if last < run.round_index - 1:
            records = store.load_rounds(run.run_id, after=last)
            last = records[-1].round_index if records else last
            told = [record for record in records if TRAIN_LOSS in record.metrics]
            curve = RoundCurve(
                (*curve.losses, *(record.metrics[TRAIN_LOSS] for record in told)),
                (*curve.committed_at, *(record.committed_at for record in told)),
            )
        self._curves[run.run_id, run.created_at] = last, curve
        while len(self._curves) > KEPT_RUNS:
            self._curves.popitem(last=False)
        return curve
