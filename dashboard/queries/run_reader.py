"""Reads what is new of one run from the stores, by cursors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from contracts.records import Run
from dashboard.queries.run_data import RunData
from dashboard.queries.source import Source

LATE_S = 30.0
"""So long after its end something of a run may still come in."""

LATE_ROUNDS = 2
"""Clearing up stays so many rounds behind; tasks of older rounds do not change."""

PREDICTIONS_S = 10.0
"""A stack is asked for predictions this often: they come once a round at most, and each look is paid for."""


class RunReader:
    """One run as far as it has been read. For one thread at a time."""

    def __init__(self, source: Source, run: Run) -> None:
        self.data = RunData(run)
        self._source = source
        self._created_at = run.created_at
        self._cursors = {"steps": "", "spans": "", "predictions": ""}
        self._predictions_at = float("-inf")
        self._at_rest = False
        self._changed = True

    def is_of(self, run: Run) -> bool:
        """Whether the run is still the one that was read, and none that has taken its place."""
        return run.created_at == self._created_at and run.version >= self.data.run.version

    def read(self, run: Run, now: float) -> bool:
        """Read what is new beside the run itself.

        Args:
            run: as it is stored now.
            now: seconds since 1970.
        Returns:
            whether anything has changed since the last call that came back.
        Raises:
            StoreCorrupted, StoreBusy, AwsUnreachable, …: of the store. The next call goes on from here.
        """
        if self.data.use_run(run):
            self._changed, self._at_rest = True, False
        if not self._at_rest:
            self._read_control(run)
            self._read_telemetry(now)
            self.data.settle(run.round_index - LATE_ROUNDS)
            self._at_rest = run.ended and now > run.ended_at + LATE_S
        changed, self._changed = self._changed, False
        return changed

    def _read_control(self, run: Run) -> None:
        data, store = self.data, self._source.store
        self._changed |= data.add_rounds(store.load_rounds(run.run_id, data.last_round))
        for index in range(data.settled_through + 1, run.round_index + 1):
            # A round that is over is read once more, and then not again: that time it must be all of it.
            tasks = store.load_tasks(run.run_id, index, consistent=index < run.round_index)
            self._changed |= data.use_tasks(index, tasks)
            data.settle(run.round_index - LATE_ROUNDS)  # at once: a whole run's tasks never lie here unpacked

    def _read_telemetry(self, now: float) -> None:
        data, telemetry = self.data, self._source.telemetry
        self._take("steps", telemetry.read_steps, data.add_steps)
        self._take("spans", telemetry.read_spans, data.add_spans)
        if not self._source.is_cloud or data.run.ended or now >= self._predictions_at + PREDICTIONS_S:
            self._take("predictions", telemetry.read_predictions, data.add_predictions)
            self._predictions_at = now

    def _take[T](
        self, kind: str, read: Callable[[str, str], tuple[Sequence[T], str]], add: Callable[[Sequence[T]], bool]
    ) -> None:
        """The cursor moves on once all before it has been taken in: what is damaged is met again at each look."""
        batches, cursor = read(self.data.run.run_id, self._cursors[kind])
        self._changed |= add(batches)
        self._cursors[kind] = cursor
