"""A round with no compute: N workers write a vector, it is combined, all read the result back.

Through the whole protocol (conductor, processes, run store, files), beside Ray tasks and Lithops on localhost. The
three take turns; a peer runs only while it is measured.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import harness
from contracts.records import Run
from contracts.settings import OuterSettings, RunSettings
from engines.home import Home
from engines.local import LocalEngine
from runs.start import start

HERE = Path(__file__).resolve().parent
PEER_PYTHON = HERE / ".venv-round" / "bin" / "python"
HANDLERS = dict.fromkeys(("train", "prepare", "combine"), "round_handlers.handler")
SIZES = {"1 MB": 250_000, "43 MB": 10_750_000}
WARM_UP = 3
GOAL_FACTOR = 1.0


def run_settings(workers: int, values: int, rounds: int, slices: int | None = None) -> RunSettings:
    """A run whose rounds do nothing but move vectors: plain averaging, which is what the peers do."""
    cores = harness.cores()
    return RunSettings(
        recipe="none",
        recipe_digest="none",
        dataset="none",
        recipe_settings={"values": values},
        workers=workers,
        concurrency=min(workers, cores),
        batch_size=1,
        steps_per_round=1,
        rounds=rounds,
        outer=OuterSettings(kind="sgd", learning_rate=1.0),
        time_limit_s=120.0,
        max_cost_usd=1000.0,
        slices=slices,
    )


def ours(workers: int, values: int, rounds: int, slices: int | None = None) -> list[float]:
    """Seconds between the commits of consecutive rounds; `slices` as chosen by the run where None."""
    settings = run_settings(workers, values, WARM_UP + rounds, slices)
    with tempfile.TemporaryDirectory(prefix="lambdafit-round-") as folder:
        home = Home(Path(folder))
        home.create()
        with LocalEngine(home, "", "r-0000000000", settings, HANDLERS) as engine:
            run = start(engine.services, settings)
            engine.prestart()
            run = engine.conduct(run.run_id, _watch_nothing)
            records = engine.services.store.load_rounds(run.run_id)
    if run.status != "FINISHED":
        raise harness.ChildFailed(f"the run ended {run.status}: {run.error}")
    expected = settings.rounds * (workers + 1) / 2
    if run.results["first"] != expected or run.results["last"] != expected:
        raise harness.ChildFailed(f"the sum is wrong: {run.results}, expected {expected}")
    seconds = [after.committed_at - before.committed_at for before, after in pairwise(records)]
    return seconds[WARM_UP - 1 :]


def peer(name: str, workers: int, values: int, rounds: int, timeout_s: float) -> dict[str, list[float]]:
    """Seconds of a peer's rounds, by variant."""
    script = HERE / "peers" / f"{name}_round.py"
    values_of = {"workers": workers, "values": values, "rounds": rounds, "cores": harness.cores()}
    arguments = [text for key, value in values_of.items() for text in (f"--{key}", str(value))]
    # Lithops starts `python` from PATH.
    environment = os.environ | {"PATH": f"{PEER_PYTHON.parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)
    finished = harness.run_json([str(PEER_PYTHON), str(script), *arguments], environment, timeout_s)
    seconds: dict[str, list[float]] = finished.answer["seconds"]
    return seconds


def measure(options: argparse.Namespace, point: dict[str, Any], workers: int, values: int) -> None:
    """Fill `point` with lists of seconds, block by block, the systems taking turns."""
    shares = [options.rounds // options.blocks] * options.blocks
    lithops_left = options.lithops_rounds
    for index, rounds in enumerate(shares):
        point.setdefault("lambdafit", []).extend(ours(workers, values, rounds))
        if "ray" in options.peers:
            _try(point, "ray", lambda n=rounds: peer("ray", workers, values, n, options.timeout_s))
        if "lithops" in options.peers and lithops_left:
            share = -(-lithops_left // (options.blocks - index))
            lithops_left -= share
            _try(point, "lithops", lambda n=share: peer("lithops", workers, values, n, options.timeout_s))


def _try(point: dict[str, Any], name: str, call: Callable[[], dict[str, list[float]]]) -> None:
    """A peer that fails is no reason to lose the rest."""
    try:
        for variant, seconds in call().items():
            point.setdefault(name if variant == "one" else f"{name} {variant}", []).extend(seconds)
    except harness.ChildFailed as error:
        point.setdefault("failed", []).append(f"{name}: {error}")
        print(f"{name}: {error}", file=sys.stderr, flush=True)


def ray_ms(point: dict[str, Any]) -> float | None:
    """Ray's better variant, in milliseconds."""
    found = [harness.median(point[name]) * 1e3 for name in ("ray", "ray tree") if name in point]
    return min(found) if found else None


def main() -> None:
    """Run it."""
    parser = harness.parser(__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=SIZES, metavar="SIZE")
    parser.add_argument("--rounds", type=int, default=20, help="of each system at each point")
    parser.add_argument("--lithops-rounds", type=int, default=20)
    parser.add_argument("--blocks", type=int, default=2, help="how often the systems take turns at a point")
    parser.add_argument("--peers", nargs="*", default=["ray", "lithops"], choices=["ray", "lithops"])
    parser.add_argument("--timeout-s", type=float, default=600.0, help="for a peer's block")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.lithops_rounds, options.blocks = 5, 1, 1
    if not PEER_PYTHON.exists() and options.peers:
        print("the peers are not installed (make bench-round does that): measuring lambdafit alone", file=sys.stderr)
        options.peers = []
    os.environ["PYTHONPATH"] = str(HERE)  # for the functions' processes, which look for round_handlers
    result = harness.begin("round", options)
    points: dict[str, dict[str, Any]] = {}
    rows = [["size", "workers", "lambdafit ms", "quartiles", "Ray ms", "Lithops ms", "of Ray's"]]
    for size in options.sizes:
        for workers in options.workers:
            point = points.setdefault(f"{size} N={workers}", {})
            measure(options, point, workers, SIZES[size])
            rows.append(_row(size, workers, point))
            print("  ".join(rows[-1]), flush=True)
    result.raw["seconds"] = points
    result.table("Median time of a round with no compute", rows)
    for name, point in points.items():
        mine, rays = harness.median(point["lambdafit"]) * 1e3, ray_ms(point)
        wanted = f"at most Ray's {rays:.0f} ms" if rays else "at most Ray's"
        result.goal(f"round {name}", f"{mine:.0f} ms", wanted, mine <= rays * GOAL_FACTOR if rays else None)
    result.finish(harness.output_folder(options))


def _row(size: str, workers: int, point: dict[str, Any]) -> list[str]:
    mine, rays = harness.spread(point["lambdafit"]), ray_ms(point)
    lithops = f"{harness.median(point['lithops']) * 1e3:.0f}" if "lithops" in point else "–"
    quartiles = f"{mine['q1'] * 1e3:.1f} to {mine['q3'] * 1e3:.1f}"
    ratio = f"{mine['median'] * 1e3 / rays:.2f}" if rays else "–"
    shown = f"{rays:.1f}" if rays else "–"
    return [size, str(workers), f"{mine['median'] * 1e3:.1f}", quartiles, shown, lithops, ratio]


def _watch_nothing(run: Run) -> None:
    """Nothing to show."""


if __name__ == "__main__":
    main()
