"""A process that lives long: conducts runs until its time is up, and notes what it holds. Prints JSON at the end.

`--way faults`: short runs back to back, an engine each, with killed and stopped environments, doubled
and dropped events, lost engines, cancelled and resumed runs; all but the newest runs are removed, as by
`lambdafit runs rm`. `--way steady`: one run of endless rounds, whose environments live as long as this process.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import psutil

import held_resources
import whole_numbers
from cli.home_access import RunFolder
from contracts.records import Run
from contracts.settings import RunSettings
from engines.home import Home
from engines.local import LocalEngine
from handlers.wiring import SystemRandomness
from runs import control
from runs.start import start
from runs.trainer import parameters_digest
from training.vector_files import read_vector

HERE = Path(__file__).resolve().parent
HANDLERS = dict.fromkeys(("train", "prepare", "combine"), "load_handlers.handler")
KEPT_RUNS = 5
SPARE_VALUES = 140_000
"""Updates of more than 1 MiB: removed ones are overwritten by later ones."""

KILL, STOP, DOUBLE, DROP, LOSE, CANCEL = 0.02, 0.01, 0.1, 0.01, 0.002, 0.002
"""How often, at each look at a run or for each event."""


class EngineLost(Exception):
    """Raised in the conductor, whose engine is then no more."""


class FaultyEngine(LocalEngine):
    """An engine whose events are doubled and dropped."""

    dice = random.Random(1)  # noqa: S311 - no secret
    counts: ClassVar[Counter[str]] = Counter()

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        """See `LocalEngine.invoke`."""
        if self.dice.random() < DROP:
            self.counts["events dropped"] += 1
            return
        super().invoke(function, event)
        if self.dice.random() < DOUBLE:
            self.counts["events doubled"] += 1
            super().invoke(function, event)


class Soak:
    """What both ways share: the home, the samples, the counts."""

    def __init__(self, home: Home, minutes: float, sample_s: float) -> None:
        self.home = home
        self.ends_at = time.monotonic() + 60 * minutes
        self.counts: Counter[str] = FaultyEngine.counts
        self.samples: list[dict[str, Any]] = []
        self._began, self._sample_s, self._sampled_at = time.monotonic(), sample_s, 0.0
        self._process = psutil.Process()
        self._dice = random.Random(2)  # noqa: S311 - no secret

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self.ends_at

    def sample(self, *, now: bool = False) -> None:
        """Note what is held, if it is time."""
        if not now and time.monotonic() - self._sampled_at < self._sample_s:
            return
        held = held_resources.held_by(self._process)
        assert held is not None
        temporary = held_resources.stored_below(Path(os.environ["TMPDIR"]))
        self._sampled_at = time.monotonic()
        self.samples.append(
            {
                "at_s": self._sampled_at - self._began,
                "parent_bytes": held.resident_bytes,
                "parent_descriptors": held.descriptors,
                "parent_threads": threading.active_count(),
                "temporary_files": temporary.files,
                "temporary_bytes": temporary.bytes,
                "home_files": held_resources.stored_below(self.home.folder).files,
                "home": held_resources.home_bytes(self.home.folder),
                "environments": held_resources.environments(),
                "counts": dict(self.counts),
            }
        )

    # --- short runs with faults ---

    def faults(self) -> None:
        """Runs back to back until the time is up; one whose engine is lost goes on with the next."""
        unfinished = ""
        while not self.over or unfinished:
            run_id = unfinished or SystemRandomness().run_id()
            try:
                with FaultyEngine(self.home, "", run_id, self._settings(0), HANDLERS) as engine:
                    self._one_run(engine, run_id, is_new=not unfinished)
                unfinished = ""
            except EngineLost:
                unfinished = run_id
                self.counts["engines lost"] += 1
            self._retain()
            self.sample()

    def _settings(self, seed: int) -> RunSettings:
        return whole_numbers.run_settings(
            4, 6, 4, values=SPARE_VALUES, step_s=0.002, seed=seed, concurrency=2, time_limit_s=4.0, claim_margin_s=1.0,
            offer_s=2.0, max_attempts=1000,
        )  # fmt: skip

    def _one_run(self, engine: FaultyEngine, run_id: str, *, is_new: bool) -> None:
        """Conduct a run to its end and check it."""
        if is_new:
            start(engine.services, self._settings(self.counts["runs"]), run_id)
        else:
            control.resume(engine.services, run_id, {}, engine_was_lost=True)
        run = engine.conduct(run_id, lambda seen: self._disturb(engine, seen))
        while run.status == "CANCELLED":
            self.counts["runs resumed"] += 1
            control.resume(engine.services, run_id, {}, engine_was_lost=False)
            run = engine.conduct(run_id, lambda seen: self._disturb(engine, seen))
        assert run.status == "FINISHED", run.error
        assert run.results["parameters_sha256"] == whole_numbers.expected_digest(run.settings), f"{run_id}: others"
        self.counts["runs"] += 1

    def _disturb(self, engine: FaultyEngine, run: Run) -> None:
        """Perhaps something happens."""
        if run.ended:
            return
        if self._dice.random() < KILL:
            self._signal(signal.SIGKILL, "environments killed")
        if self._dice.random() < STOP:
            stopped = self._signal(signal.SIGSTOP, "environments stopped")
            if stopped is not None:  # for longer than its time limit, or for a moment
                threading.Timer(self._dice.choice((0.3, 6.0)), _let_go_on, [stopped]).start()
        if self._dice.random() < CANCEL:
            self.counts["runs cancelled"] += 1
            control.cancel(engine.services, run.run_id)
        if self._dice.random() < LOSE:
            raise EngineLost(run.run_id)

    def _signal(self, number: signal.Signals, what: str) -> psutil.Process | None:
        children = self._process.children()
        if not children:
            return None
        child = self._dice.choice(children)
        child.send_signal(number)
        self.counts[what] += 1
        return child

    def _retain(self) -> None:
        """Remove all runs but the newest."""
        place = RunFolder(self.home)
        for run in place.runs()[KEPT_RUNS:]:
            place.remove(run.run_id)
            self.counts["runs removed"] += 1
        place.store.close()

    # --- one long run ---

    def steady(self) -> None:
        """One run until the time is up; then its parameters must be those of as many rounds."""
        endless = whole_numbers.run_settings(
            4, 10_000_000, 4, values=64, step_s=0.002, concurrency=2, max_cost_usd=1e9, deadline_s=1e9
        )
        run_id = SystemRandomness().run_id()
        with LocalEngine(self.home, "", run_id, endless, HANDLERS) as engine:
            start(engine.services, endless, run_id)

            def watch(run: Run) -> None:
                self.counts["rounds"] = run.round_index
                self.sample()
                if self.over and not run.ended:
                    control.cancel(engine.services, run_id)

            run = engine.conduct(run_id, watch)
            assert run.status == "CANCELLED", run.error
            parameters = read_vector(engine.services.files, list(run.parameters))
            expected = whole_numbers.expected_parameters(endless, run.round_index - 1)
            assert parameters_digest(parameters) == parameters_digest(expected), "other parameters"


def _let_go_on(process: psutil.Process) -> None:
    try:
        process.send_signal(signal.SIGCONT)
    except psutil.Error:
        return  # it was killed meanwhile


def main() -> None:
    """Live for some minutes; then remove every run, and see what is left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--way", choices=("faults", "steady"), required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--sample-s", type=float, required=True)
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(HERE)
    home = Home(options.home)
    home.create()
    soak = Soak(home, options.minutes, options.sample_s)
    (soak.faults if options.way == "faults" else soak.steady)()
    soak.sample(now=True)
    place = RunFolder(home)
    for run in place.runs():
        place.remove(run.run_id)
    place.store.close()
    left = sorted(str(path.relative_to(home.folder)) for path in home.folder.rglob("*"))
    print(json.dumps({"samples": soak.samples, "counts": dict(soak.counts), "left": left}))


if __name__ == "__main__":
    main()
