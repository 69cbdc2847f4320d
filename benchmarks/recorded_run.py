"""Record a made run in a home on this machine, whole or still growing: what the dashboard is measured with.

    python benchmarks/recorded_run.py FOLDER --workers 64 --steps 10000

The same arguments record the same run. `LiveRun` goes on with one as time passes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.made_run import MadeRun
from benchmarks.made_shape import Shape
from contracts.records import Task
from engines.home import Home, HomeLock
from stores.sqlite import SqliteStore


def record(folder: Path, shape: Shape, rounds: int | None = None) -> str:
    """Write a run into a home.

    Args:
        rounds: committed ones; None for all of them, and a finished run.
    Returns:
        its id.
    """
    home = Home(folder)
    home.create()
    store = SqliteStore(home.environment().store_file)
    try:
        made = MadeRun(store, shape)
        made.begin()
        for _ in range(shape.rounds if rounds is None else rounds):
            made.do_round()
        if rounds is None:
            made.finish()
        return made.run.run_id
    finally:
        store.close()


class LiveRun:
    """A run that is being trained just now, as far as anybody who looks can tell: its home is locked by it.

    Steps end when they are written, so that what is shown is as old as it says. After the last round no more comes.

    Args:
        folder: the home.
        rounds_done: committed before the first `advance`, in made time that ends now.
        clock: seconds since 1970.
    """

    def __init__(
        self, folder: Path, shape: Shape | None = None, rounds_done: int = 0, clock: Callable[[], float] = time.time
    ) -> None:
        shape = shape or Shape()
        self._clock = clock
        self._home = Home(folder)
        self._home.create()
        self._store = SqliteStore(self._home.environment().store_file)
        took_s = rounds_done * shape.steps_per_round * shape.step_ms * 2 / 1000 + 15.0
        self.made = MadeRun(self._store, shape._replace(started_at=clock() - took_s))
        self._lock = HomeLock(self._home)
        self._lock.acquire(f"run {self.made.run.run_id}")
        self.made.begin()
        for _ in range(rounds_done):
            self.made.do_round()
        self._claimed: list[tuple[Task, float]] = []
        self._step = 0
        self._at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.made.run.run_id

    def advance(self, steps: int = 20) -> int:
        """So many steps of every worker, done since the last call. A round that is complete is committed.

        Returns:
            steps of one worker that were written: fewer where the run is over.
        """
        written = 0
        while written < steps and self.made.run.phase == "TRAINING":
            count = min(steps - written, self.made.shape.steps_per_round - self._step)
            self._put(count)
            written += count
            if self._step == self.made.shape.steps_per_round:
                self._commit()
        return written

    def finish(self) -> None:
        """The run's last evaluation, once all rounds are done."""
        self.made.now = self._clock()
        self.made.finish()

    def close(self) -> None:
        """Nobody works at it any more."""
        self._lock.release()
        self._store.close()

    def _put(self, count: int) -> None:
        now = self._clock()
        if not self._claimed:
            self._claimed = [(self.made.claim(worker, now), now) for worker in range(self.made.shape.workers)]
            self._at = now - count * self.made.shape.step_ms / 1000
        each_ms = max(0.001, (now - self._at) * 1000 / count)
        noise = np.random.default_rng(self._step).uniform(0.7, 1.0, (len(self._claimed), count))
        for (task, _), row in zip(self._claimed, (each_ms * noise).round(3).tolist(), strict=True):
            self.made.put_steps(task, self._step, self._step + count, now, tuple(row))
        self._at = now
        self._step += count

    def _commit(self) -> None:
        now = self._clock()
        for task, claimed_at in self._claimed:
            self.made.report(task, claimed_at, now)
        self.made.now = now
        self.made.commit()
        self._claimed, self._step = [], 0


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the home, made where there is none")
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10_000, help="of every worker")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--rounds-done", type=int, help="leave the run at this round, still running")
    parser.add_argument("--run-id", default=Shape().run_id)
    parser.add_argument("--troubles", action="store_true", help="with a hand-over, a lost worker and a backup")
    given = parser.parse_args()
    shape = Shape(
        run_id=given.run_id,
        workers=given.workers,
        rounds=given.rounds,
        steps_per_round=max(1, given.steps // given.rounds),
        troubles=given.troubles,
    )
    began = time.perf_counter()
    run_id = record(given.folder, shape, given.rounds_done)
    seconds = time.perf_counter() - began
    print(f"{run_id}: {shape.workers} workers × {shape.steps:,} steps in {given.folder}, written in {seconds:.1f} s")


if __name__ == "__main__":
    main()
