"""Load on one machine: 256 workers for 100 rounds, 20 runs at once, 10,000 steps of 64 workers' progress.

Real conductor, processes, run store and files; computing is replaced by sleep and whole numbers, so that what each run
must end with is known. A run that lost, doubled or mixed anything ends the benchmark.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import harness
import held_resources
import load_table

CHILD = Path(__file__).resolve().parent / "load_child.py"
CASES = ("workers", "progress", "homes", "table")
PARENT_PEAK_MB = 150
PARENT_GROWTH_MB = 8.0
"""From the first tenth of a run to its end."""

DESCRIPTORS = 64
"""Beyond three for each environment in the parent, or one for each update that is combined."""

WAL_MB = 32.0
FUNCTIONS = 3
Figures = dict[str, Any]


class Size:
    """How large a run is.

    Args:
        steps: of each worker in each round; each takes `step_s` of sleep.
        concurrency: environments of each function.
    """

    def __init__(self, workers: int, rounds: int, steps: int, step_s: float, concurrency: int) -> None:
        self.workers, self.rounds, self.steps = workers, rounds, steps
        self.step_s, self.concurrency = step_s, concurrency

    @property
    def asleep_s(self) -> float:
        """How long a round sleeps at least."""
        return self.workers * self.steps * self.step_s / self.concurrency

    def arguments(self) -> list[str]:
        """For `load_child.py`."""
        return [text for name, value in vars(self).items() for text in (f"--{name.replace('_', '-')}", str(value))]


def run_child(size: Size, timeout_s: float, seed: int = 0) -> Figures:
    """One run in a process and a home of its own."""
    with tempfile.TemporaryDirectory(prefix="lambdafit-load-") as folder:
        command = [sys.executable, str(CHILD), f"{folder}/home", "--seed", str(seed), *size.arguments()]
        return harness.run_json(command, harness.variables(), timeout_s).answer


def milliseconds(spread: dict[str, float]) -> list[str]:
    """p50, p95, p99 and the most, as cells."""
    return [f"{1e3 * spread[name]:.1f}" for name in ("p50", "p95", "p99", "max")]


def megabytes(count: float) -> float:
    """Bytes in MB."""
    return count / 1e6


def parent_growth_mb(figures: Figures) -> float:
    """How much the parent's memory grew after a run's first tenth."""
    looks = figures["parent"]
    last_round = max(look[0] for look in looks)
    settled = [look[1] for look in looks if look[0] >= last_round / 10]
    return megabytes(settled[-1] - settled[0])


def parent_descriptors(figures: Figures) -> int:
    """The most that the parent had open."""
    return int(max(look[2] for look in figures["parent"]))


def show_run(result: harness.Result, name: str, size: Size, figures: Figures) -> None:
    """Tables and goals of one large run."""
    rounds = held_resources.percentiles(figures["rounds_s"])
    times = figures["times_s"]
    rows = [["ms", "p50", "p95", "p99", "most"], ["round", *milliseconds(rounds)]]
    rows += [[what, *milliseconds(times[what])] for what in ("claim", "report", "telemetry") if what in times]
    result.table(f"{name}: latencies", rows)
    stored = figures["stored"]
    looks = figures["parent"]
    result.table(
        f"{name}: throughput and sizes",
        [
            ["what", "value"],
            ["tasks a second", f"{figures['tasks'] / sum(figures['rounds_s'] or [figures['wall_s']]):.0f}"],
            ["of a round asleep", f"{size.asleep_s / rounds['p50']:.0%}"],
            ["steps a second", f"{figures['steps'] / figures['wall_s']:.0f}"],
            ["reading all steps, ms", f"{1e3 * figures['read_steps_s']:.0f}"],
            ["runs.db, MB", f"{megabytes(stored['runs.db']):.1f}"],
            ["runs.db, bytes a task", f"{stored['runs.db'] / figures['tasks']:.0f}"],
            ["telemetry.db, MB", f"{megabytes(stored['telemetry.db']):.1f}"],
            ["telemetry.db, bytes a step", f"{stored['telemetry.db'] / figures['steps']:.1f}"],
            ["logs, bytes a task", f"{stored['logs'] / figures['tasks']:.0f}"],
            ["shared files at the end, MB", f"{megabytes(stored['shared']):.2f}"],
            ["longest write-ahead log, MB", f"{megabytes(max(figures['wal_bytes'].values())):.1f}"],
            ["parent's memory at most, MB", f"{megabytes(max(look[1] for look in looks)):.0f}"],
            ["an environment's memory at most, MB", f"{megabytes(figures['environment_bytes']):.0f}"],
            ["parent's descriptors at most", parent_descriptors(figures)],
            ["an environment's descriptors at most", figures["environment_descriptors"]],
        ],
    )
    result.raw[name] = figures
    _goals(result, name, size, figures)


def _goals(result: harness.Result, name: str, size: Size, figures: Figures) -> None:
    peak_mb = megabytes(max(look[1] for look in figures["parent"]))
    growth_mb = parent_growth_mb(figures)
    descriptors, most = parent_descriptors(figures), 3 * FUNCTIONS * size.concurrency + DESCRIPTORS
    theirs, their_most = figures["environment_descriptors"], size.workers + DESCRIPTORS
    wal_mb = megabytes(max(figures["wal_bytes"].values()))
    result.goal(f"{name}: updates and steps, each once", "all", "all", True)  # anything else has raised
    attempts = figures["attempts"]
    result.goal(f"{name}: attempts", str(attempts), f"{figures['tasks']}, one a task", attempts == figures["tasks"])
    wanted = f"< {PARENT_PEAK_MB} MB"
    result.goal(f"{name}: parent's memory", f"{peak_mb:.0f} MB", wanted, peak_mb < PARENT_PEAK_MB)
    wanted = f"<= {PARENT_GROWTH_MB:g} MB"
    result.goal(f"{name}: its growth", f"{growth_mb:.1f} MB", wanted, growth_mb <= PARENT_GROWTH_MB)
    result.goal(f"{name}: parent's descriptors", str(descriptors), f"<= {most}", descriptors <= most)
    result.goal(f"{name}: an environment's descriptors", str(theirs), f"<= {their_most}", theirs <= their_most)
    result.goal(f"{name}: write-ahead log", f"{wal_mb:.1f} MB", f"<= {WAL_MB:g} MB", wal_mb <= WAL_MB)


def many_homes(result: harness.Result, runs: int, size: Size, timeout_s: float) -> None:
    """Runs side by side, each with a home, a parent and environments of its own."""
    with ThreadPoolExecutor(runs) as pool:
        found = list(pool.map(partial(run_child, size, timeout_s), range(runs)))
    rounds = held_resources.percentiles([seconds for figures in found for seconds in figures["rounds_s"]])
    peak_mb = megabytes(max(look[1] for figures in found for look in figures["parent"]))
    tasks, wall_s = sum(figures["tasks"] for figures in found), max(figures["wall_s"] for figures in found)
    rows = [["ms", "p50", "p95", "p99", "most"], ["round", *milliseconds(rounds)]]
    for what in ("claim", "report"):
        worst = {
            name: max(figures["times_s"][what][name] for figures in found) for name in ("p50", "p95", "p99", "max")
        }
        rows.append([f"{what}, of the slowest run", *milliseconds(worst)])
    result.table(f"{runs} homes: latencies", rows)
    result.table(f"{runs} homes: throughput", [["what", "value"], ["tasks a second", f"{tasks / wall_s:.0f}"]])
    result.raw["homes"] = found
    result.goal(f"{runs} homes: runs with exact parameters", str(len(found)), str(runs), len(found) == runs)
    wanted = f"< {PARENT_PEAK_MB} MB"
    result.goal(f"{runs} homes: a parent's memory", f"{peak_mb:.0f} MB", wanted, peak_mb < PARENT_PEAK_MB)


def one_table(result: harness.Result, runs: int, rounds: int) -> None:
    """Runs side by side in one table."""
    figures = load_table.measure(runs, workers=4, rounds=rounds, steps=4)
    row = [str(runs), *milliseconds(figures["rounds_s"]), figures["items_a_run"], figures["bytes_a_run"]]
    head = ["runs in one table", "round p50 ms", "p95", "p99", "most", "items a run", "characters a run"]
    result.table("One DynamoDB table (moto's, whose requests take turns)", [head, row])
    result.raw["table"] = figures
    result.goal("one table: runs with exact parameters, items their own", str(runs), str(runs), True)


def main() -> None:
    """Run it."""
    parser = harness.parser(__doc__)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES, metavar="CASE")
    parser.add_argument("--workers", type=int, default=256, help="a power of two")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=8, help="environments of each function")
    parser.add_argument("--runs", type=int, default=20, help="at the same time")
    parser.add_argument("--timeout-s", type=float, default=1800.0, help="for each run")
    options = parser.parse_args()
    os.environ.pop("LAMBDAFIT_HOME", None)
    result = harness.begin("load", options)
    measure(result, options)
    result.finish(harness.output_folder(options))


def measure(result: harness.Result, options: argparse.Namespace) -> None:
    """The cases that were asked for."""
    quick = options.quick
    if "workers" in options.cases:
        rounds = 10 if quick else options.rounds
        size = Size(options.workers, rounds, steps=4, step_s=0.005, concurrency=options.concurrency)
        show_run(result, f"{size.workers} workers, {rounds} rounds", size, run_child(size, options.timeout_s))
    if "progress" in options.cases:
        rounds, steps = (4, 250) if quick else (5, 2_000)
        size = Size(64, rounds, steps, step_s=0.001, concurrency=options.concurrency)
        show_run(result, f"64 workers, {rounds * steps} steps each", size, run_child(size, options.timeout_s))
    if "homes" in options.cases:
        size = Size(4, 5 if quick else 20, steps=4, step_s=0.005, concurrency=2)
        many_homes(result, 4 if quick else options.runs, size, options.timeout_s)
    if "table" in options.cases:
        one_table(result, 4 if quick else options.runs, 4 if quick else 5)


if __name__ == "__main__":
    main()
