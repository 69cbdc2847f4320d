"""Made runs for the dashboard's tests: as snapshots without a file, or in homes that stores and commands can open."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from benchmarks.made_run import MadeRun
from benchmarks.made_shape import STARTED_AT, Shape
from contracts.errors import AttemptsExhausted
from contracts.ports import RunStore
from contracts.records import ErrorRecord, Run
from dashboard.queries.collector import Collector
from dashboard.queries.run_data import RunSnapshot
from dashboard.queries.source import Source
from engines.home import Home
from fakes.memory_store import MemoryStore
from stores.sqlite import SqliteStore

State = Literal["pending", "preparing", "running", "finished", "failed", "cancelled"]
SHAPE = Shape(run_id="r-sample0001", workers=4, rounds=6, steps_per_round=20, batch_steps=5)
LATER_S = 3_600.0
"""Samples are looked at so long after they have ended."""


def sample_error() -> ErrorRecord:
    """What a failed sample failed of."""
    return AttemptsExhausted(
        "000003#train#0001", "3 attempts failed, the last one with: E402", "one that succeeds"
    ).record()


def make_sample(store: Any, shape: Shape = SHAPE, state: State = "finished") -> MadeRun:
    """Write a sample into a store.

    Args:
        state: "running" is half way through its last round but one, where "failed" and "cancelled" end, too;
            "preparing" has started, without anything to see; "pending" has not.
    """
    made = MadeRun(store, shape)
    if state == "pending":
        return made
    if state == "preparing":
        made.start()
        return made
    made.begin()
    whole = shape.rounds if state == "finished" else max(0, shape.rounds - 2)
    for _ in range(whole):
        made.do_round()
    if state == "finished":
        made.finish()
        return made
    made.half_round()
    if state == "failed":
        made.fail(min(1, shape.workers - 1), sample_error())
    elif state == "cancelled":
        made.end("CANCELLED", "stopped by a user")
    return made


def sample_source(store: Any, **changes: Any) -> Source:
    """A place that this store is in."""
    source = Source(
        name="home .lambdafit",
        is_cloud=False,
        region="",
        architecture="x86_64",
        store=store,
        telemetry=store,
        exists=lambda: True,
        conducted=lambda runs: frozenset(run.run_id for run in runs if not run.ended),
        place="/home/user/.lambdafit",
        newest_place="LAMBDAFIT_HOME /home/user/.lambdafit",
    )
    return source._replace(**changes)


def sample_snapshot(
    workers: int = 4,
    rounds: int = 6,
    steps_per_round: int = 20,
    *,
    state: State = "finished",
    troubles: bool = False,
    shape: Shape = SHAPE,
    **changes: Any,
) -> RunSnapshot:
    """A run as pages are handed it, without a file.

    Args:
        troubles: with a hand-over (worker 1, round 2), a lost worker (2, round 3), a backup (the last one, round 4).
        shape: what else it is like.
        changes: fields of the snapshot that are to be others.
    """
    store = MemoryStore()
    shape = shape._replace(workers=workers, rounds=rounds, steps_per_round=steps_per_round, troubles=troubles)
    made = make_sample(store, shape, state)
    now = made.now + (LATER_S if made.run.ended else 1.0)
    snapshot = Collector(sample_source(store), clock=lambda: now).look(shape.run_id)
    return snapshot._replace(**changes)


def sample_home(folder: Path, state: State = "finished", **shape: Any) -> str:
    """Record a sample in a home.

    Args:
        shape: fields of `Shape`: run_id, workers, rounds, steps_per_round, troubles, started_at, ….
    Returns:
        the run's id.
    """
    home = Home(folder)
    home.create()
    store = SqliteStore(home.environment().store_file)
    try:
        return make_sample(store, SHAPE._replace(**shape), state).run.run_id
    finally:
        store.close()


def sample_run(store: RunStore, **shape: Any) -> Run:
    """A run's record alone, as it was created."""
    return MadeRun(store, SHAPE._replace(**shape)).run


def open_files() -> int:
    """How many file descriptors this process holds."""
    return len(list(Path("/proc/self/fd").iterdir()))


__all__ = [
    "SHAPE",
    "STARTED_AT",
    "State",
    "make_sample",
    "open_files",
    "sample_error",
    "sample_home",
    "sample_run",
    "sample_snapshot",
    "sample_source",
]
