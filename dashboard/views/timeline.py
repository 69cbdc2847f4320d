"""Where every lane's time went: what was recorded, and what follows from it, on the axis of attended time."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dashboard.queries.run_data import RunSnapshot
from dashboard.views import phases
from dashboard.views.attended import Attended, attended
from dashboard.views.lanes import KIND_CODES, TRAIN, Lanes, make_lanes
from dashboard.views.remembered import Remembered
from dashboard.views.round_times import RoundTimes, round_times
from dashboard.views.task_rows import AT_WORK, LOST, NOT_SEEN, SUPERSEDED, Rows, row_store

KEPT_RUNS = 8

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]


class Bars(NamedTuple):
    """Stretches of time, one a place, all of shape (bars,); in attended seconds."""

    lane: Ints
    phase: npt.NDArray[np.uint8]
    start_s: Floats
    end_s: Floats
    round: Ints
    attempt: Ints

    def at(self, places: npt.NDArray[np.intp]) -> Bars:
        """Some of them."""
        columns: list[Any] = [column[places] for column in self]
        return Bars(*columns)


class Attempts(NamedTuple):
    """Attempts, one a place, all of shape (attempts,); in attended seconds. `rows` has the rest of each."""

    lane: Ints
    start_s: Floats
    end_s: Floats
    rows: npt.NDArray[Any]

    def at(self, places: npt.NDArray[np.intp]) -> Attempts:
        """Some of them."""
        return Attempts(self.lane[places], self.start_s[places], self.end_s[places], self.rows[places])


class Timeline(NamedTuple):
    """All that is known of a run's time. `bars` holds recorded spans first, then waits, then what nobody reported."""

    run_id: str
    revision: int
    running: bool
    lanes: Lanes
    axis: Attended
    bars: Bars
    attempts: Attempts
    rounds: RoundTimes

    @property
    def is_empty(self) -> bool:
        """Whether nothing has begun yet."""
        return len(self.bars.lane) == 0


class _Memory(NamedTuple):
    lock: threading.Lock
    newest: Remembered[Timeline]


_memories: Remembered[_Memory] = Remembered(KEPT_RUNS)


def timeline(snapshot: RunSnapshot) -> Timeline:
    """The timeline of a run, made of that of the revision before where there is one. For many threads."""
    run_id = snapshot.run.run_id
    place = (snapshot.source.name, run_id)
    memory = _memories.get(place, lambda: _Memory(threading.Lock(), Remembered(1)))
    with memory.lock:
        revision = (snapshot.revision, len(snapshot.spans), snapshot.conducted)
        return memory.newest.get(revision, lambda: make_timeline(snapshot, row_store(snapshot).read(snapshot)))


def make_timeline(snapshot: RunSnapshot, rows: Rows) -> Timeline:
    """The timeline of a run from its rows."""
    run = snapshot.run
    workers = run.settings.workers
    began = run.started_at or run.created_at
    ends = _ends(snapshot, rows.attempts)
    newest = run.ended_at or max(snapshot.newest_at, began)
    axis = _axis(snapshot, rows, ends, began, newest)
    kinds = set(np.unique(rows.attempts["kind"]).tolist()) | set(np.unique(rows.spans["kind"]).tolist())
    slices = max([run.slices, *(1 + _most(part, KIND_CODES["combine"]) for part in rows)])
    lanes = make_lanes(workers, slices, kinds)
    times = round_times(rows.attempts, snapshot.rounds, workers, newest)
    bars = [_recorded(rows.spans, lanes, axis), _waits(times, axis), _unreported(snapshot, rows, ends, lanes, axis)]
    attempts = Attempts(
        lanes.of(rows.attempts["kind"], rows.attempts["index"]),
        axis.of(rows.attempts["start"]),
        axis.of(ends),
        rows.attempts,
    )
    whole = Bars(*(np.concatenate(columns) for columns in zip(*bars, strict=True)))
    return Timeline(run.run_id, snapshot.revision, not run.ended, lanes, axis, whole, attempts, times)


def _most(rows: npt.NDArray[Any], kind: int) -> int:
    return int(rows["index"][rows["kind"] == kind].max(initial=-1))


def _ends(snapshot: RunSnapshot, attempts: npt.NDArray[Any]) -> Floats:
    """When each attempt ended, (attempts,); one at work has come as far as its news.

    A lost one held its claim until it was found dead, one that was taken over is paid for to its time limit: so long
    they are shown, but never beyond what is known.
    """
    ends = attempts["end"].copy()
    at_work = attempts["outcome"] == AT_WORK
    guessed = np.isin(attempts["outcome"], NOT_SEEN)
    ends[guessed] = np.maximum(attempts["start"], np.minimum(ends, snapshot.newest_at))[guessed]
    if snapshot.conducted and not snapshot.run.ended:
        ends[at_work] = np.maximum(ends[at_work], snapshot.newest_at)
        return ends
    for place in np.flatnonzero(at_work):
        start = float(attempts["start"][place])
        steps = _steps_within(snapshot, attempts[place], start, np.inf)
        ends[place] = steps[1] if steps else start
    return ends


def _steps_within(snapshot: RunSnapshot, attempt: Any, low: float, high: float) -> tuple[float, float] | None:
    """Begin of the first and end of the last step of the attempt's worker and round that ended from `low` to `high`."""
    if attempt["kind"] != TRAIN or attempt["index"] >= len(snapshot.steps.at):
        return None
    columns = np.searchsorted(snapshot.steps.round_index, [attempt["round"], attempt["round"] + 1])
    at = snapshot.steps.at[attempt["index"], columns[0] : columns[1]]
    found = np.flatnonzero((at >= low) & (at <= high))
    if not len(found):
        return None
    first_ms = float(snapshot.steps.duration_ms[attempt["index"], columns[0] + found[0]])
    return max(low, float(at[found[0]]) - first_ms / 1000), float(at[found[-1]])


def _axis(snapshot: RunSnapshot, rows: Rows, ends: Floats, began: float, newest: float) -> Attended:
    """Attempts and steps tell nearly always when somebody was at work; spans are asked where these are silent."""
    steps = np.array([(packed.began_at, packed.ended_at) for packed in snapshot.packed_steps]).reshape(-1, 2)
    begun = rows.attempts["start"]
    known = np.where(np.isin(rows.attempts["outcome"], NOT_SEEN), begun, ends)
    starts, ends = np.append(begun, steps[:, 0]), np.append(known, steps[:, 1])
    return attended(began, newest, starts, ends, lambda: np.append(rows.spans["start"], rows.spans["end"]))


def _recorded(spans: npt.NDArray[Any], lanes: Lanes, axis: Attended) -> Bars:
    return Bars(
        lanes.of(spans["kind"], spans["index"]),
        spans["phase"],
        axis.of(spans["start"]),
        axis.of(spans["end"]),
        spans["round"],
        spans["attempt"],
    )


def _waits(times: RoundTimes, axis: Attended) -> Bars:
    """The waits at the barrier, see `RoundTimes`."""
    until = np.broadcast_to(times.wait_until, times.done.shape)
    workers, rounds = np.nonzero(times.done < until)
    return Bars(
        workers.astype(np.int32),
        np.full(len(workers), phases.WAIT, np.uint8),
        axis.of(times.done[workers, rounds]),
        axis.of(until[workers, rounds]),
        rounds.astype(np.int32),
        np.zeros(len(workers), np.int32),
    )


def _unreported(snapshot: RunSnapshot, rows: Rows, ends: Floats, lanes: Lanes, axis: Attended) -> Bars:
    """What is known of attempts at work, lost or superseded: they have no spans, but perhaps steps."""
    attempts = rows.attempts
    found: list[tuple[int, int, float, float, int, int]] = []
    for place in np.flatnonzero(np.isin(attempts["outcome"], (AT_WORK, LOST, SUPERSEDED))):
        one, low, high = attempts[place], float(attempts["start"][place]), float(ends[place])
        lane = int(lanes.of(attempts["kind"][place : place + 1], attempts["index"][place : place + 1])[0])
        steps = _steps_within(snapshot, one, low, high) if one["outcome"] != SUPERSEDED else None
        parts = [(phases.UNREPORTED_CODE, low, high)]
        if steps:
            parts = [
                (phases.UNREPORTED_CODE, low, steps[0]),
                (phases.COMPUTE, *steps),
                (phases.UNREPORTED_CODE, steps[1], high),
            ]
        found += [(lane, code, a, b, int(one["round"]), int(one["attempt"])) for code, a, b in parts if b > a]
    columns = np.array(found, np.float64).reshape(-1, 6).T
    return Bars(
        columns[0].astype(np.int32),
        columns[1].astype(np.uint8),
        axis.of(columns[2]),
        axis.of(columns[3]),
        columns[4].astype(np.int32),
        columns[5].astype(np.int32),
    )
