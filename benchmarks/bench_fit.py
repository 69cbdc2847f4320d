"""lambdafit with 2 workers beside `keras.Model.fit`: examples per second, and time to the same test accuracy.

Both train the same model on Fashion-MNIST with the same per-step batch, optimizer and data; they take turns. fit has
TensorFlow's own choice of threads. Times from process start hold everything: imports, reading the data, compiling.
lambdafit trains with its default of 12 rounds an epoch, and with half as many: longer rounds are more examples a
second, shorter ones learn more from each.
In turn with them, as many processes as workers do a step's matrix products and nothing else: what training this model
by TensorFlow cannot go beyond on these cores.
"""

from __future__ import annotations

import argparse
from typing import Any

import harness
from fit_runs import run_fit, run_lambdafit, run_products, time_of

SPEED_WANTED = 2.5
TIME_WANTED = 0.5


def main() -> None:
    """Run it."""
    parser = harness.parser(__doc__)
    parser.add_argument("--recipe", default="fashion-mnist-mlp")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=6, help="of fit")
    parser.add_argument("--our-epochs", type=int, default=3, help="of lambdafit, which learns more from each")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--long-round-steps", type=int, default=72, help="of the runs with longer rounds")
    parser.add_argument("--train-options", default="", help="more options of `lambdafit train`, in one text")
    parser.add_argument("--timeout-s", type=float, default=1800.0, help="for one process")
    options = parser.parse_args()
    if options.quick:
        options.repetitions, options.epochs, options.our_epochs = 1, 3, 2
    result = harness.begin("fit", options)
    fits: list[dict[str, Any]] = []
    products: list[dict[str, float]] = []
    rounds = {
        "lambdafit": options.train_options,
        "long rounds": f"{options.train_options} --steps-per-round {options.long_round_steps}",
    }
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in rounds}
    for seed in range(1, options.repetitions + 1):
        fits.append(run_fit(options, seed))
        _tell("fit", seed, fits[-1], fits[-1]["test_accuracy"])
        for name, train_options in rounds.items():
            told = argparse.Namespace(**vars(options) | {"train_options": train_options})
            runs[name].append(run_lambdafit(told, seed))
            _tell(name, seed, runs[name][-1], runs[name][-1]["answer"]["test_accuracy"])
        if alone := run_products(options):
            products.append(alone)
            print(f"matrix products {seed}: {alone['examples_per_s']:.0f} examples/s", flush=True)
    result.raw |= {"fit": fits, "products": products} | runs
    report(result, fits, runs, products)
    result.finish(harness.output_folder(options))


def _tell(name: str, seed: int, run: dict[str, Any], accuracy: float) -> None:
    print(f"{name} {seed}: {run['examples_per_s']:.0f} examples/s, test {accuracy:.4f}", flush=True)


def report(
    result: harness.Result,
    fits: list[dict[str, Any]],
    runs: dict[str, list[dict[str, Any]]],
    products: list[dict[str, float]],
) -> None:
    """Tables and goals."""
    rows: list[list[str]] = [["examples per second after the first epoch", "median", "least", "most"]]
    speeds = [("fit, training", fits, "examples_per_s"), ("fit, with validation", fits, "examples_per_s_validated")]
    for name, ours in runs.items():
        speeds += [
            (f"{name}, whole rounds", ours, "examples_per_s"),
            (f"{name}, TRAINING phase", ours, "examples_per_s_training"),
            (f"{name}, steps of one worker", ours, "examples_per_s_worker_steps"),
            (f"{name}, whole run, imports and test included", ours, "examples_per_s_whole_run"),
        ]
    speeds.append(("TensorFlow's matrix products alone, all workers", products, "examples_per_s"))
    for what, found, key in speeds:
        values = [one[key] for one in found]
        if values:
            rows.append([what, *(f"{value:,.0f}" for value in (harness.median(values), min(values), max(values)))])
    result.table("Speed", rows)
    for name, ours in runs.items():
        _speed_goal(result, name, fits, ours, products)
        _time_goal(result, name, fits, ours)
    spans = [["where a lambdafit worker's round goes, ms", "median", "quartile 3", "most"]]
    last = runs["lambdafit"][-1]
    parts = {"one step": last["step_ms"], "round outside TRAINING": last["outside_training_ms"]} | last["spans"]
    spans += [[part, *(f"{value[key]:.2f}" for key in ("median", "q3", "max"))] for part, value in parts.items()]
    result.table("Spans", spans)


def _speed_goal(
    result: harness.Result,
    name: str,
    fits: list[dict[str, Any]],
    runs: list[dict[str, Any]],
    products: list[dict[str, float]],
) -> None:
    def of_fits(found: list[Any], key: str = "examples_per_s") -> float:
        return harness.median(one[key] / fit["examples_per_s"] for one, fit in zip(found, fits, strict=True))

    speed = of_fits(runs)
    value = f"{speed:.2f} by whole rounds, {of_fits(runs, 'examples_per_s_training'):.2f} in the TRAINING phase"
    if products:
        value += f"; {of_fits(products):.2f} at most, by the products alone"
    wanted = f">= {SPEED_WANTED} by whole rounds"
    result.goal(f"{name}: examples/s in training, of fit's", value, wanted, speed >= SPEED_WANTED)


def _time_goal(result: harness.Result, name: str, fits: list[dict[str, Any]], runs: list[dict[str, Any]]) -> None:
    times = [["repetition", "fit s", "fit test accuracy", f"{name} s", "test accuracy", "fit as good at"]]
    ratios = []
    for index, (fit, run) in enumerate(zip(fits, runs, strict=True), 1):
        accuracy = run["answer"]["test_accuracy"]
        fit_s, met = time_of(fit, accuracy)
        ratios.append(run["wall_s"] / fit_s)
        times.append(
            [
                str(index),
                f"{fit['epochs'][-1]['since_start_s']:.1f}",
                f"{fit['test_accuracy']:.4f}",
                f"{run['wall_s']:.1f}",
                f"{accuracy:.4f}",
                f"{fit_s:.1f} s" if met else f"not by {fit_s:.1f} s",
            ]
        )
    result.table(f"Wall time from process start, {name}", times)
    accuracy = harness.median(run["answer"]["test_accuracy"] for run in runs)
    share = harness.median(ratios)
    what = f"{name}: wall time to test accuracy {accuracy:.4f}, of fit's"
    result.goal(what, f"{share:.2f}", f"<= {TIME_WANTED}", share <= TIME_WANTED)


if __name__ == "__main__":
    main()
