"""How a run's time, bytes, requests and dollars grow with workers, parameters, examples and rounds.

Real runs of the command line, one varied from a base in a single size each, are what straight lines are fitted to
(`growth_lines.py`); mixed runs that the fit never sees are then estimated and compared. `--write` puts the lines into
`src/runs/growth_measured.py`, from where `train --dry-run` takes them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import growth_lines as lines
import growth_table
import harness
from growth_points import BASE, FITTED, HELD_BACK, QUICK_FITTED, QUICK_HELD_BACK, Point, measure
from runs.growth import CACHED_PARAMETERS, Growth, Quantity

TABLE = harness.ROOT / "src" / "runs" / "growth_measured.py"
WANTED: dict[Quantity, float] = {"time": 0.2, "bytes": 0.1, "requests": 0.1, "dollars": 0.2}
"""The median relative error on held-back points."""


def measure_all(options: argparse.Namespace, points: Sequence[Point]) -> list[dict[str, Any]]:
    """Every point in turn, as often as is asked for; a run before them warms the machine up and is not counted."""
    found = []
    with tempfile.TemporaryDirectory(prefix="lambdafit-growth-") as folder:
        measure(BASE._replace(rounds=2), Path(folder), options.timeout_s)
        for repetition in range(options.repetitions):
            for point in points:
                run = measure(point, Path(folder), options.timeout_s)
                found.append(run | {"repetition": repetition})
                print(f"{point.name}: {run['wall_s']:.1f} s", flush=True)
    return found


def named(runs: Sequence[dict[str, Any]], points: Sequence[Point]) -> list[dict[str, Any]]:
    """The runs of these points."""
    names = {point.name for point in points}
    return [run for run in runs if run["name"] in names]


def point_rows(growth: Growth, runs: Sequence[dict[str, Any]], cores: int) -> list[list[str]]:
    """One row a point: measured, and how far the estimate is off."""
    rows = [["point", "s", "est.", "MB", "est.", "requests", "est.", "milli-USD", "est."]]
    scales: dict[Quantity, float] = {"time": 1, "bytes": 1e-6, "requests": 1, "dollars": 1e3}
    for name in dict.fromkeys(run["name"] for run in runs):
        cells = []
        for quantity, scale in scales.items():
            estimated, measured = lines.median_pair(growth, runs, name, quantity, cores)
            cells += [short(measured * scale), f"{estimated / measured - 1:+.0%}"]
        rows.append([name, *cells])
    return rows


def spread_rows(runs: Sequence[dict[str, Any]]) -> list[list[str]]:
    """How much repetitions of a point differ in time."""
    rows = [["point", "least s", "median s", "most s", "a round ms", "a step ms"]]
    for name in dict.fromkeys(run["name"] for run in runs):
        of_point = [run for run in runs if run["name"] == name]
        walls = [run["wall_s"] for run in of_point]
        rounds = [one["round_s"] * 1e3 for run in of_point for one in run["rounds"]]
        steps = [run["step_s"] * 1e3 for run in of_point]
        times = (min(walls), harness.median(walls), max(walls), harness.median(rounds), harness.median(steps))
        rows.append([name, *(short(value) for value in times)])
    return rows


def line_rows(growth: Growth) -> list[list[str]]:
    """The fitted lines in words."""
    start, first, a_round, step = growth.start, growth.first_round, growth.round, growth.step
    finish, task = growth.finish, growth.task
    parts = (
        ("until the first round is dispatched, s",
         f"{short(start.base_s)} + {short(start.s_per_data_mb)} × MB of data + "
         f"{short(start.s_per_parameter_mb)} × MB of parameters"),
        ("the first round, longer by, s",
         f"{short(first.base_s)} + {short(first.s_per_parameter_mb)} × MB of parameters"),
        ("a round beside its steps, ms",
         f"{short(a_round.base_s * 1e3)} + {short(a_round.s_per_worker * 1e3)} × workers + "
         f"{short(a_round.s_per_mb * 1e3)} × MB moved in it"),
        ("a step, ms",
         f"{short(step.base_s * 1e3)} + {short(step.s_per_value * 1e9)} × M parameters and the optimizer's values + "
         f"{short(step.s_per_parameter_beyond * 1e9)} × M parameters beyond {CACHED_PARAMETERS / 1e6:g} + "
         f"{short(step.s_per_parameter_example * 1e9)} × M parameters × examples"),
        ("validations, ms",
         f"{short(growth.validation.first_s * 1e3)} for the first + "
         f"{short(growth.validation.s_per_worker * 1e3)} × workers each"),
        ("from the last round to the end, s",
         f"{short(finish.base_s)} + {short(finish.s_per_parameter_mb)} × MB of parameters"),
        ("a task beside its computing, ms", f"{short(task.base_s * 1e3)} + {short(task.s_per_mb * 1e3)} × MB moved"),
        ("INIT of an environment of Train, s", short(growth.cold_s)),
    )  # fmt: skip
    return [["what", "fitted"], *(list(part) for part in parts)]


def short(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def report(
    result: harness.Result, growth: Growth, fitted: list[dict[str, Any]], held_back: list[dict[str, Any]]
) -> None:
    """Tables and goals."""
    cores = result.machine["cores"]
    result.table("Fitted points, one size varied each", point_rows(growth, fitted, cores))
    result.table("Held-back points, estimated as before a first run", point_rows(growth, held_back, cores))
    result.table("Fitted lines", line_rows(growth))
    result.table("Repetitions", spread_rows([*fitted, *held_back]))
    for quantity, wanted in WANTED.items():
        seen = growth.errors[quantity]
        result.goal(
            f"error of {quantity} on held-back points, median (worst)",
            f"{seen.median:.1%} ({seen.worst:.1%})",
            f"<= {wanted:.0%}",
            None if result.quick else seen.median <= wanted,
        )


def main() -> None:
    """Run it."""
    parser = harness.parser(__doc__)
    parser.add_argument("--repetitions", type=int, default=2, help="of every point, which take turns")
    parser.add_argument("--write", action="store_true", help="put the lines into src/runs/growth_measured.py")
    parser.add_argument("--from", dest="source", type=Path, default=None, help="take a kept JSON's runs, measure none")
    parser.add_argument("--timeout-s", type=float, default=300.0, help="for one run")
    options = parser.parse_args()
    points = (QUICK_FITTED, QUICK_HELD_BACK) if options.quick else (FITTED, HELD_BACK)
    if options.quick:
        options.repetitions = 1
    result = harness.begin("growth", options)
    if options.source is None:
        runs = measure_all(options, [*points[0], *points[1]])
    else:
        kept = json.loads(options.source.read_text())
        runs, result.machine, result.started_at = kept["raw"]["runs"], kept["machine"], kept["started_at"]
    fitted, held_back = (named(runs, of) for of in points)
    machine, cores = result.machine, result.machine["cores"]
    day = time.strftime("%Y-%m-%d", time.gmtime(result.started_at))
    growth = lines.lines(fitted, cores, day, f"{machine['cpu']}, {cores} cores")
    growth = lines.with_errors(growth, held_back, cores)
    result.raw = {"runs": runs, "lines": growth_table.rounded(growth)._asdict()}
    report(result, growth, fitted, held_back)
    if options.write:
        TABLE.write_text(growth_table.module(growth))
        print(f"written: {TABLE.name}")
    if options.source is None:
        result.finish(harness.output_folder(options))
    else:
        for goal in result.goals:
            print(goal)


if __name__ == "__main__":
    main()
