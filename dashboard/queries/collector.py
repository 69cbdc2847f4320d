"""The one place in a process that reads runs: for all sessions, bounded, each thing once."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import NamedTuple

from contracts.errors import LambdafitError, RunNotFound
from contracts.identifiers import check_run_id
from contracts.records import Run
from dashboard.queries.round_curves import RoundCurve, RoundCurves
from dashboard.queries.run_data import RunSnapshot
from dashboard.queries.run_reader import RunReader
from dashboard.queries.source import Source
from engines.find_run import NEWEST, find_run

LISTED_RUNS = 500


class RunsSnapshot(NamedTuple):
    """The newest runs, newest first.

    Args:
        revision: grows whenever one of them has changed, come or gone.
        read_at: when they were read, in s since 1970.
        conducted: the ids of those that were being worked at.
    """

    runs: tuple[Run, ...]
    revision: int
    read_at: float
    conducted: frozenset[str]


class _Looked[T]:
    """What was seen last of one thing, or why it could not be seen, for everybody who asks within `least_s`."""

    def __init__(self, clock: Callable[[], float], least_s: float) -> None:
        self.value: T | None = None
        self._clock = clock
        self._least_s = least_s
        self._lock = threading.Lock()
        self._looked_at: float | None = None
        self._error: LambdafitError | None = None

    def get(self, look: Callable[[], T]) -> T:
        """The last one, or a new one if that is too old."""
        with self._lock:
            if self._looked_at is None or not 0 <= self._clock() - self._looked_at < self._least_s:
                try:
                    self.value, self._error = look(), None
                except LambdafitError as error:
                    self._error = error
                self._looked_at = self._clock()
            if self._error is not None:
                raise self._error.with_traceback(None)
            assert self.value is not None  # noqa: S101 - no error, so there is one
            return self.value


class Collector:
    """What the sessions of one process see of the runs of one place. Threads may share it.

    The stores are read in threads of the collector's own, however many ask: a thread that has read an SQLite store
    holds a connection, and every rerun of a page is another thread.

    Args:
        clock: seconds since 1970.
        least_s: what was read less than this ago is not read again; errors are not either.
        kept_runs: so many runs are kept in memory: those looked at last.
    """

    def __init__(
        self, source: Source, clock: Callable[[], float] = time.time, least_s: float = 1.0, kept_runs: int = 8
    ) -> None:
        self.source = source
        self._clock = clock
        self._least_s = least_s
        self._kept_runs = kept_runs
        self._revisions = count(1)
        self._lock = threading.Lock()
        self._listed = _Looked[RunsSnapshot](clock, least_s)
        self._runs: OrderedDict[str, _Looked[RunSnapshot]] = OrderedDict()
        self._readers: dict[str, RunReader] = {}
        self._curves = RoundCurves()
        self._curves_lock = threading.Lock()
        self._threads = ThreadPoolExecutor(source.readers, thread_name_prefix="collector")

    def runs(self) -> RunsSnapshot:
        """The newest runs; none where there is no store yet.

        Raises:
            StoreCorrupted, HomeNotWritable, AwsUnreachable, …: they cannot be read.
        """
        return self._listed.get(lambda: self._in_reader(self._read_runs))

    def look(self, run_id: str) -> RunSnapshot:
        """One run as it is now.

        Raises:
            InvalidRunId: that is no run's id.
            RunNotFound, RunOfOtherStack: there is none, or no more.
            StoreCorrupted, StoreBusy, AwsUnreachable, …: it cannot be read.
        """
        check_run_id(run_id)
        with self._lock:
            looked = self._runs.setdefault(run_id, _Looked(self._clock, self._least_s))
            self._runs.move_to_end(run_id)
            while len(self._runs) > self._kept_runs:
                self._readers.pop(self._runs.popitem(last=False)[0], None)
        return looked.get(lambda: self._in_reader(lambda: self._read_run(run_id, looked.value)))

    def curves(self, runs: Sequence[Run]) -> dict[str, RoundCurve]:
        """The training loss of these runs by round; run id → curve. Their telemetry is not read.

        Raises:
            StoreCorrupted, StoreBusy, AwsUnreachable, …: they cannot be read.
        """
        store = self.source.store
        with self._curves_lock:
            return {run.run_id: self._in_reader(partial(self._curves.read, store, run)) for run in runs}

    def find(self, name: str) -> str:
        """The id of the run that a user means: by its id, the unique beginning of one, or `latest`.

        Raises:
            InvalidRunId: it cannot be a run's name, or several begin so.
            RunNotFound, RunOfOtherStack: there is none.
        """
        source = self.source
        place = source.newest_place if name == NEWEST else source.place
        return find_run(name, place, self._load, self._list, source.missing).run_id

    def close(self) -> None:
        """Give the store's connections back. Not to be used any more after it."""
        self._in_reader(self.source.close)
        self._threads.shutdown()

    def _in_reader[T](self, read: Callable[[], T]) -> T:
        return self._threads.submit(read).result()

    def _read_runs(self) -> RunsSnapshot:
        now = self._clock()
        runs = tuple(self.source.store.list_runs(LISTED_RUNS)) if self.source.exists() else ()
        conducted = self.source.conducted(runs)
        before = self._listed.value
        if before is not None and _stamps(before.runs) == _stamps(runs) and before.conducted == conducted:
            return before._replace(read_at=now)
        return RunsSnapshot(runs, next(self._revisions), now, conducted)

    def _read_run(self, run_id: str, before: RunSnapshot | None) -> RunSnapshot:
        now = self._clock()
        run = self._stored(run_id)
        if run is None:
            self._forget(run_id)
            raise self.source.missing(f"run {run_id}", f"it is not in {self.source.place}, or not any more")
        with self._lock:
            reader = self._readers.get(run_id)
            if reader is None or not reader.is_of(run):
                reader, before = RunReader(self.source, run), None
                if run_id in self._runs:
                    self._readers[run_id] = reader
        changed = reader.read(run, now)
        conducted = bool(self.source.conducted([run]))
        if before is not None and not changed and before.conducted == conducted:
            return before._replace(read_at=now)
        return reader.data.snapshot(next(self._revisions), now, conducted, self.source)

    def _forget(self, run_id: str) -> None:
        with self._lock:
            self._readers.pop(run_id, None)
            self._runs.pop(run_id, None)

    def _stored(self, run_id: str) -> Run | None:
        try:
            return self.source.store.load_run(run_id) if self.source.exists() else None
        except RunNotFound:
            return None

    def _load(self, run_id: str) -> Run | None:
        listed = {run.run_id: run for run in self.runs().runs}
        return listed.get(run_id) or self._in_reader(lambda: self._stored(run_id))

    def _list(self, limit: int) -> list[Run]:
        listed = self.runs().runs
        if limit <= len(listed) or len(listed) < LISTED_RUNS:
            return list(listed[:limit])
        return self._in_reader(lambda: list(self.source.store.list_runs(limit)))


def _stamps(runs: Sequence[Run]) -> list[tuple[str, int, float]]:
    return [(run.run_id, run.version, run.created_at) for run in runs]
