"""Test accuracy of 1, 2, 4 and 8 workers after the same number of examples, with the defaults or a grid of settings.

Runs are replayed in one process a core (see replay.py): the engine's bits without its time. `--check` runs one of
them through the engine, too, and compares the parameters' digests.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec

import harness

TOLERANCE = 0.005
CHECK_WORKERS = 2


def pin() -> None:
    """Once a process: TensorFlow with one thread, as the engine has where every core has a worker."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from training.numerics import pin_threads

    pin_threads(1)


def replay_one(request: dict[str, Any], data_folder: str) -> dict[str, Any]:
    """One run, in a process of the pool."""
    from replay import replay, settings_of

    began = time.perf_counter()
    outcome = replay(settings_of(request), data_folder)
    return dataclasses.asdict(outcome) | {"seconds": time.perf_counter() - began}


def variants(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Name → what its requests have beside recipe, epochs, workers and seed."""
    from replay import outer_settings

    outers: list[str | None] = options.outer or [None]
    steps: list[int | None] = options.steps_per_round or [None]
    batches: list[int | None] = options.batch_size or [None]
    found = {}
    for outer, steps_per_round, batch_size in itertools.product(outers, steps, batches):
        named = {"outer": outer, "steps_per_round": steps_per_round, "batch_size": batch_size}
        name = " ".join(f"{key}={value}" for key, value in named.items() if value is not None) or "defaults"
        given: dict[str, Any] = {key: value for key, value in named.items() if value is not None}
        if outer is not None:
            given["outer"] = msgspec.to_builtins(outer_settings(outer))
        found[name] = given
    return found


def requests(options: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    """(variant, request) of every run; one worker always with the defaults, as what the others are held against."""
    common = {"recipe": options.recipe, "epochs": options.epochs, "set": dict(item.split("=") for item in options.set)}
    found: list[tuple[str, dict[str, Any]]] = []
    for seed in range(1, options.seeds + 1):
        found.append(("one worker", common | {"workers": 1, "seed": seed}))
        for name, given in variants(options).items():
            for workers in options.workers:
                if workers > 1 or name != "defaults":
                    found.append((name, common | given | {"workers": workers, "seed": seed}))
    return found


def check(options: argparse.Namespace, data_folder: str) -> tuple[str, str]:
    """The parameters' digests of one run by the engine and by the replay."""
    request = {"recipe": options.recipe, "epochs": 1, "workers": CHECK_WORKERS, "seed": 1}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=pin) as pool:
        replayed = pool.submit(replay_one, request, data_folder).result()["parameters_sha256"]
    with tempfile.TemporaryDirectory(prefix="lambdafit-converge-") as folder:
        command = [*harness.cli(), "train", options.recipe, "--workers", str(CHECK_WORKERS), "--epochs", "1"]
        command += ["--seed", "1", "--json", "--quiet"]
        # As many cores as workers: one thread each, as in the replay.
        finished = harness.run_json(command, harness.variables(Path(folder) / "home"), options.timeout_s)
    return str(finished.answer["parameters_sha256"]), replayed


def main() -> None:
    """Run it."""
    parser = harness.parser(__doc__)
    parser.add_argument("--recipe", default="fashion-mnist-mlp")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--outer", nargs="*", default=[], metavar="KIND:RATE[:MOMENTUM]", help="grid")
    parser.add_argument("--steps-per-round", type=int, nargs="*", default=[], help="grid")
    parser.add_argument("--batch-size", type=int, nargs="*", default=[], help="grid; of one worker's step")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the recipe, for all")
    parser.add_argument("--processes", type=int, default=harness.cores())
    parser.add_argument("--check", action="store_true", help="compare one run with the engine, bit for bit")
    parser.add_argument("--timeout-s", type=float, default=1800.0)
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.epochs = 1, 1
        options.workers = [count for count in options.workers if count <= 4]
    data_folder = harness.data_folder()
    is_grid = bool(options.outer or options.steps_per_round or options.batch_size or options.set)
    result = harness.begin("converge-grid" if is_grid else "converge", options)
    found: dict[str, dict[int, list[dict[str, Any]]]] = {}
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn"), initializer=pin) as pool:
        futures = {
            pool.submit(replay_one, request, data_folder): (name, request) for name, request in requests(options)
        }
        for future in as_completed(futures):
            name, request = futures[future]
            outcome = future.result() | {"seed": request["seed"]}
            found.setdefault(name, {}).setdefault(request["workers"], []).append(outcome)
            print(f"{name} N={request['workers']} seed {request['seed']}: ", end="")
            print(f"test {outcome['test_accuracy']:.4f} ({outcome['seconds']:.0f} s)", flush=True)
    result.raw["runs"] = found
    if options.check or options.quick:
        by_engine, by_replay = check(options, data_folder)
        result.raw["check"] = {"engine": by_engine, "replay": by_replay}
        print("\nthe engine gives the replay's bits" if by_engine == by_replay else "\nENGINE AND REPLAY DIFFER")
    report(result, found)
    result.finish(harness.output_folder(options))


def report(result: harness.Result, found: dict[str, dict[int, list[dict[str, Any]]]]) -> None:
    """The table, and a goal for each number of workers and variant."""
    alone = _mean(found["one worker"][1])
    counts = sorted({count for runs in found.values() for count in runs})
    rows = [["test accuracy (mean, least)", *(f"N={count}" for count in counts)]]
    for name, runs in found.items():
        cells = (
            f"{_mean(runs[n]):.4f} ({min(r['test_accuracy'] for r in runs[n]):.4f})" if n in runs else "–"
            for n in counts
        )
        rows.append([name, *cells])
    result.table(f"Test accuracy after {result.settings['epochs']} epochs", rows)
    for name, runs in found.items():
        for count, outcomes in sorted(runs.items()):
            if name != "one worker":
                mean = _mean(outcomes)
                what = f"test accuracy, {count} workers, {name}"
                wanted = f">= one worker's {alone:.4f} - {TOLERANCE}"
                result.goal(what, f"{mean:.4f}", wanted, mean >= alone - TOLERANCE)


def _mean(outcomes: list[dict[str, Any]]) -> float:
    return sum(outcome["test_accuracy"] for outcome in outcomes) / len(outcomes)


if __name__ == "__main__":
    main()
