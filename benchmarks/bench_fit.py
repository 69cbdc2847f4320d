"""lambdafit with 2 workers beside `keras.Model.fit`: examples per second, and time to the same test accuracy.

Both train the same model on Fashion-MNIST with the same per-step batch, optimizer and data; they take turns. fit has
TensorFlow's own choice of threads. Times from process start hold everything: imports, reading the data, compiling.
In turn with them, as many processes as workers do a step's matrix products and nothing else: what training this model
by TensorFlow cannot go beyond on these cores.
"""

from __future__ import annotations

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
    parser.add_argument("--train-options", default="", help="more options of `lambdafit train`, in one text")
    parser.add_argument("--timeout-s", type=float, default=1800.0, help="for one process")
    options = parser.parse_args()
    if options.quick:
        options.repetitions, options.epochs, options.our_epochs = 1, 3, 2
    result = harness.begin("fit", options)
    fits, runs, products = [], [], []
    for seed in range(1, options.repetitions + 1):
        fits.append(run_fit(options, seed))
        print(
            f"fit {seed}: {fits[-1]['examples_per_s']:.0f} examples/s, test {fits[-1]['test_accuracy']:.4f}", flush=True
        )
        runs.append(run_lambdafit(options, seed))
        print(f"lambdafit {seed}: {runs[-1]['examples_per_s']:.0f} examples/s, ", end="")
        print(f"test {runs[-1]['answer']['test_accuracy']:.4f}", flush=True)
        if alone := run_products(options):
            products.append(alone)
            print(f"matrix products {seed}: {alone['examples_per_s']:.0f} examples/s", flush=True)
    result.raw |= {"fit": fits, "lambdafit": runs, "products": products}
    report(result, fits, runs, products)
    result.finish(harness.output_folder(options))


def report(
    result: harness.Result, fits: list[dict[str, Any]], runs: list[dict[str, Any]], products: list[dict[str, float]]
) -> None:
    """Tables and goals."""
    rows: list[list[str]] = [["examples per second after the first epoch", "median", "least", "most"]]
    speeds = (
        ("fit, training", fits, "examples_per_s"),
        ("fit, with validation", fits, "examples_per_s_validated"),
        ("lambdafit, whole rounds", runs, "examples_per_s"),
        ("lambdafit, TRAINING phase", runs, "examples_per_s_training"),
        ("lambdafit, steps of one worker", runs, "examples_per_s_worker_steps"),
        ("lambdafit, whole run, imports and test included", runs, "examples_per_s_whole_run"),
        ("TensorFlow's matrix products alone, all workers", products, "examples_per_s"),
    )
    for what, found, key in speeds:
        values = [one[key] for one in found]
        if not values:
            continue
        rows.append([what, *(f"{value:,.0f}" for value in (harness.median(values), min(values), max(values)))])
    result.table("Speed", rows)
    accuracy = harness.median(run["answer"]["test_accuracy"] for run in runs)
    times = [["repetition", "fit s", "fit test accuracy", "lambdafit s", "lambdafit test accuracy", "fit as good at"]]
    ratios = []
    for index, (fit, run) in enumerate(zip(fits, runs, strict=True), 1):
        fit_s, met = time_of(fit, run["answer"]["test_accuracy"])
        ratios.append(run["wall_s"] / fit_s)
        times.append(
            [
                str(index),
                f"{fit['epochs'][-1]['since_start_s']:.1f}",
                f"{fit['test_accuracy']:.4f}",
                f"{run['wall_s']:.1f}",
                f"{run['answer']['test_accuracy']:.4f}",
                f"{fit_s:.1f} s" if met else f"not by {fit_s:.1f} s",
            ]
        )
    result.table("Wall time from process start", times)
    spans = [["where a lambdafit worker's round goes, ms", "median", "quartile 3", "most"]]
    last = runs[-1]
    parts = {"one step": last["step_ms"], "round outside TRAINING": last["outside_training_ms"]} | last["spans"]
    spans += [[name, *(f"{part[key]:.2f}" for key in ("median", "q3", "max"))] for name, part in parts.items()]
    result.table("Spans", spans)
    speed = harness.median(run["examples_per_s"] / fit["examples_per_s"] for fit, run in zip(fits, runs, strict=True))
    phase = harness.median(
        run["examples_per_s_training"] / fit["examples_per_s"] for fit, run in zip(fits, runs, strict=True)
    )
    value = f"{speed:.2f} by whole rounds, {phase:.2f} in the TRAINING phase"
    if products:
        pairs = zip(products, fits, strict=True)
        bound = harness.median(product["examples_per_s"] / fit["examples_per_s"] for product, fit in pairs)
        value += f"; {bound:.2f} at most, by the products alone"
    wanted = f">= {SPEED_WANTED} by whole rounds"
    result.goal("examples/s in training, of fit's", value, wanted, speed >= SPEED_WANTED)
    share = harness.median(ratios)
    result.goal(
        f"wall time to test accuracy {accuracy:.4f}, of fit's",
        f"{share:.2f}",
        f"<= {TIME_WANTED}",
        share <= TIME_WANTED,
    )


if __name__ == "__main__":
    main()
