"""Time to 0.88 test accuracy on Fashion-MNIST, and examples per second: lambdafit beside what others offer.

All train the same model with the same optimizer, data and batch of a step on all processors: `keras.Model.fit` with
TensorFlow's own threads; two processes under MultiWorkerMirroredStrategy; Ray Train with two workers. They take turns.
A peer's time is that of its first epoch whose test accuracy is as wanted, which is its last: looking at the test set is
not counted, and no peer validates. lambdafit tells its test accuracy when it ends, so runs of 8, 9, 10 … epochs, all
with the same seed, are made until one is as good; its time is that run's whole wall time, to the process's exit,
validations and the test included. Where none is, the goals are missed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import fit_runs
import harness
from peer_times import OURS, Reached, Runs, final_accuracy, share, times_of, where_faster

HERE = Path(__file__).resolve().parent
RAY_PYTHON = HERE / ".venv-peers" / "bin" / "python"
FIT, MULTI_WORKER, RAY_TRAIN = "keras.fit", "MultiWorkerMirroredStrategy", "Ray Train"
SYSTEMS = (OURS, FIT, MULTI_WORKER, RAY_TRAIN)
TIME_WANTED = 0.5
FIT_OPTIONS = ("--no-validation", "--steps-per-execution", "32", "--jit-compile", "off")
"""What makes it fastest here: by itself Keras goes through Python for each step, and compiles with XLA."""


def run_one(name: str, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One run of one system.

    Raises:
        ChildFailed: it did not end well or in time.
    """
    if name == OURS:
        return run_ours(options, seed)
    until = ("--until-accuracy", str(options.accuracy))
    if name == FIT:
        return fit_runs.run_fit(options, seed, *FIT_OPTIONS, *until)
    python, script = (sys.executable, "multi_worker.py") if name == MULTI_WORKER else (str(RAY_PYTHON), "ray_train.py")
    arguments = [*fit_runs.peer_arguments(options, seed), *until, "--workers", str(options.workers)]
    threads = max(1, harness.cores() // options.workers)
    arguments += ["--threads", str(threads)]
    own = harness.variables()
    own["PYTHONPATH"] += f":{HERE}:{HERE / 'peers'}"  # Ray's workers look for what they import there, too
    own["OMP_NUM_THREADS"] = str(threads)
    return fit_runs.run_peer([python, str(HERE / "peers" / script), *arguments], own, options.timeout_s)


def run_ours(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The shortest run that is as accurate as wanted, else the last; `tries` tells of all.

    Raises:
        ChildFailed: one did not end well or in time.
    """
    tries: list[dict[str, float]] = []
    run: dict[str, Any] = {}
    for epochs in options.our_epochs:
        run = fit_runs.run_lambdafit(argparse.Namespace(**vars(options) | {"our_epochs": epochs}), seed)
        accuracy = final_accuracy(OURS, run)
        tries.append({"epochs": epochs, "test_accuracy": accuracy, "wall_s": run["wall_s"]})
        if accuracy >= options.accuracy:
            break
    return run | {"tries": tries}


def measure(options: argparse.Namespace, systems: list[str]) -> tuple[dict[str, dict[int, Any]], list[str]]:
    """All repetitions, each beginning with another system; and what failed."""
    runs: dict[str, dict[int, Any]] = {name: {} for name in systems}
    failed: list[str] = []
    if not options.quick:
        warm_up = argparse.Namespace(**vars(options) | {"epochs": 1, "our_epochs": [1]})
        for name in systems:  # packages into the kernel's cache
            _attempt(name, warm_up, 0, failed)
    for number in range(1, options.repetitions + 1):
        first = (number - 1) % len(systems)
        for name in systems[first:] + systems[:first]:
            run = _attempt(name, options, number, failed)
            if run is not None:
                runs[name][number] = run
                print(f"{name} {number}: {run['examples_per_s']:.0f} examples/s, ", end="")
                print(f"test {final_accuracy(name, run):.4f}, {run['wall_s']:.1f} s in all", flush=True)
    return runs, failed


def _attempt(name: str, options: argparse.Namespace, seed: int, failed: list[str]) -> dict[str, Any] | None:
    """A system that fails is no reason to lose the rest."""
    try:
        return run_one(name, options, seed)
    except harness.ChildFailed as error:
        failed.append(f"{name} {seed}: {error}")
        print(failed[-1], file=sys.stderr, flush=True)
        return None


def main() -> None:
    """Run it."""
    parser = harness.parser(__doc__)
    parser.add_argument("--recipe", default="fashion-mnist-mlp")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64, help="of one worker's step")
    parser.add_argument("--accuracy", type=float, default=0.88, help="that is wanted on the test set")
    parser.add_argument("--epochs", type=int, default=40, help="of a peer, at most")
    parser.add_argument(
        "--our-epochs", type=int, nargs="+", default=list(range(8, 17)), help="of lambdafit, until as good"
    )
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=SYSTEMS, metavar="SYSTEM")
    parser.add_argument("--train-options", default="", help="more options of `lambdafit train`, in one text")
    parser.add_argument("--timeout-s", type=float, default=600.0, help="for one process")
    options = parser.parse_args()
    if options.quick:
        options.repetitions, options.epochs, options.our_epochs = 1, 2, [1]
    systems = [name for name in SYSTEMS if name in options.systems or name == OURS]
    if RAY_TRAIN in systems and not RAY_PYTHON.exists():
        print("Ray is not installed (make bench-peers does that): measuring the others", file=sys.stderr)
        systems.remove(RAY_TRAIN)
    result = harness.begin("peers", options)
    runs, failed = measure(options, systems)
    result.raw |= {"runs": runs, "failed": failed}
    for found in runs.values():
        for run in found.values():
            result.machine["packages"] |= run.get("versions", {})
    report(result, runs, options.accuracy)
    result.finish(harness.output_folder(options))


def report(result: harness.Result, runs: Runs, accuracy: float) -> None:
    """Tables and goals."""
    times = times_of(runs, accuracy)
    rows = [
        [
            f"seconds to {accuracy} test accuracy",
            "from process start",
            "least to most",
            "from first step",
            "least to most",
        ]
    ]
    for name, found in times.items():
        if found:
            rows.append([name, *_seconds(found, "start_s"), *_seconds(found, "step_s")])
    result.table(f"Time to {accuracy}", rows)
    steps = [["", "first step s", "examples/s after the first epoch", "least to most", "test accuracy", "epochs"]]
    for name, found in runs.items():
        if found:
            speeds = [run["examples_per_s"] for run in found.values()]
            first_s = harness.median(run["first_step_s"] for run in found.values())
            ends = [final_accuracy(name, run) for run in found.values()]
            spread = f"{min(speeds):,.0f} to {max(speeds):,.0f}"
            accuracies = f"{min(ends):.4f} to {max(ends):.4f}"
            epochs = ", ".join(
                f"{run['tries'][-1]['epochs'] if name == OURS else len(run['epochs'])}" for run in found.values()
            )
            steps.append([name, f"{first_s:.2f}", f"{harness.median(speeds):,.0f}", spread, accuracies, epochs])
    result.table("Speed, and how good at the end", steps)
    faster = where_faster(_measures(runs, times), frozenset({"examples/s"}))
    nothing = ["nowhere" if runs[OURS] else "not measured", "–", "–", "–"]
    result.table("Where a peer is faster", [["", "peer", "its", "lambdafit's"], *(faster or [nothing])])
    for name in SYSTEMS[1:]:
        value, shown, counts = share(times.get(OURS, {}), times.get(name, {}))
        reached = None if counts is None or result.quick else counts and value <= TIME_WANTED
        what = f"time to {accuracy} from process start, of {name}'s"
        result.goal(what, shown, f"<= {TIME_WANTED}", reached)


def _measures(runs: Runs, times: dict[str, dict[int, Reached]]) -> dict[str, dict[str, float]]:
    """Measure → system → median; of a run that never was as good, the time is endless."""
    found: dict[str, dict[str, float]] = {}
    for name, of_name in times.items():
        values = {
            "s from process start": [time.start_s if time.met else float("inf") for time in of_name.values()],
            "s from the first step": [time.step_s if time.met else float("inf") for time in of_name.values()],
            "s to the first step": [run["first_step_s"] for run in runs[name].values()],
            "examples/s": [run["examples_per_s"] for run in runs[name].values()],
        }
        for what, each in values.items():
            found.setdefault(what, {})[name] = harness.median(each)
    return found


def _seconds(found: dict[int, Reached], key: str) -> list[str]:
    """Median, and least to most; "not by" where some runs never were as good."""
    values = sorted((getattr(time, key), time.met) for time in found.values())
    missed = sum(not met for _, met in values)
    middle = harness.median(value for value, _ in values)
    shown = f"not by {middle:.1f} ({missed} of {len(values)})" if missed else f"{middle:.1f}"
    return [shown, f"{values[0][0]:.1f} to {values[-1][0]:.1f}"]


if __name__ == "__main__":
    main()
