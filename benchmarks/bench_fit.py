"""lambdafit with 2 workers beside `keras.Model.fit`: examples per second, and time to the same test accuracy.

Both train the same model on Fashion-MNIST with the same per-step batch, optimizer and data; they take turns. fit has
TensorFlow's own choice of threads. Times from process start hold everything: imports, reading the data, compiling.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import harness
from contracts.records import Task
from runs.summary import RunHistory, load, summarise
from stores.sqlite import SqliteStore

HERE = Path(__file__).resolve().parent
SPEED_WANTED = 2.5
TIME_WANTED = 0.5


def run_fit(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One process that fits; seconds from its start to the end of each epoch, tests not counted."""
    arguments = {"recipe": options.recipe, "epochs": options.epochs, "batch-size": options.batch_size, "seed": seed}
    command = [sys.executable, str(HERE / "keras_fit.py")]
    command += [text for key, value in arguments.items() for text in (f"--{key}", str(value))]
    finished = harness.run_json(command, harness.variables(), options.timeout_s)
    found = finished.answer
    epochs = [epoch | {"since_start_s": epoch["counted_at"] - finished.started_at} for epoch in found["epochs"]]
    steady = epochs[1:] or epochs  # the first one compiles
    return {
        "epochs": epochs,
        "examples": found["examples"],
        "before_fit_s": found["fit_at"] - finished.started_at,
        "examples_per_s": found["examples"] / harness.median(epoch["training_s"] for epoch in steady),
        "examples_per_s_validated": found["examples"] / harness.median(epoch["epoch_s"] for epoch in steady),
        "test_accuracy": epochs[-1]["test_accuracy"],
    }


def run_lambdafit(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One `lambdafit train`, in a home of its own; what its store tells of the time."""
    with tempfile.TemporaryDirectory(prefix="lambdafit-fit-") as folder:
        home = Path(folder) / "home"
        command = [*harness.cli(), "train", options.recipe, "--workers", str(options.workers), "--json", "--quiet"]
        command += ["--epochs", str(options.our_epochs), "--batch-size", str(options.batch_size), "--seed", str(seed)]
        command += options.train_options.split()
        finished = harness.run_json(command, harness.variables(home), options.timeout_s)
        store = SqliteStore(home / "runs.db")
        history = load(store, store, finished.answer["run_id"])
        store.close()
    return {"answer": finished.answer, "wall_s": finished.wall_s} | _speeds(history, finished.started_at)


def _speeds(history: RunHistory, started_at: float) -> dict[str, Any]:
    """Examples per second after the first epoch: of whole rounds, of their training, and of the steps alone."""
    run = history.run
    assert run.plan is not None
    first = run.plan.rounds_per_epoch if len(history.rounds) > run.plan.rounds_per_epoch + 1 else 1
    training = _training_seconds(history.tasks)
    rounds, phases, waits = [], [], []
    for before, after in pairwise(history.rounds):
        if after.round_index > first and "val/loss" not in after.metrics:
            round_s = after.committed_at - before.committed_at
            rounds.append(after.examples / round_s)
            phases.append(after.examples / training[after.round_index])
            waits.append(round_s - training[after.round_index])
    steps = [batch for batch in history.steps if batch.round_index > first]
    step_s = [duration_ms / 1e3 for batch in steps for duration_ms in batch.durations_ms]
    step_examples = [count for batch in steps for count in batch.examples]
    summary = summarise(history, run.ended_at)
    return {
        "examples_per_s": harness.median(rounds),
        "examples_per_s_training": harness.median(phases),
        "examples_per_s_worker_steps": sum(step_examples) / sum(step_s),
        "step_ms": harness.spread(duration * 1e3 for duration in step_s),
        "outside_training_ms": harness.spread(wait * 1e3 for wait in waits),
        "examples_per_s_whole_run": run.examples_seen / (run.ended_at - run.started_at),
        "first_round_at_s": history.rounds[0].committed_at - started_at,
        "trained_at_s": history.rounds[-1].committed_at - started_at,
        "time": [[share.name, share.seconds, share.share] for share in summary.time],
        "spans": _spans(history, first),
    }


def _training_seconds(tasks: Any) -> dict[int, float]:
    """Round → seconds from the first claim of a train task to the last report."""
    spans: dict[int, tuple[float, float]] = {}
    for task in tasks:
        assert isinstance(task, Task)
        for record in task.history if task.key.kind == "train" else ():
            low, high = spans.get(task.key.round_index, (record.started_at, record.ended_at))
            spans[task.key.round_index] = (min(low, record.started_at), max(high, record.ended_at))
    return {index: high - low for index, (low, high) in spans.items()}


def _spans(history: RunHistory, first: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each kind of span, after the first rounds."""
    found: dict[str, list[float]] = {}
    for batch in history.spans:
        if batch.key.round_index > first:
            for span in batch.spans:
                found.setdefault(f"{batch.key.kind} {span.name}", []).append((span.end_s - span.start_s) * 1e3)
    return {name: harness.spread(values) for name, values in sorted(found.items())}


def time_of(fit: dict[str, Any], accuracy: float) -> tuple[float, bool]:
    """Seconds from process start until fit's test accuracy was as good; its whole time and False if it never was."""
    for epoch in fit["epochs"]:
        if epoch["test_accuracy"] >= accuracy:
            return epoch["since_start_s"], True
    return fit["epochs"][-1]["since_start_s"], False


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
    fits, runs = [], []
    for seed in range(1, options.repetitions + 1):
        fits.append(run_fit(options, seed))
        print(
            f"fit {seed}: {fits[-1]['examples_per_s']:.0f} examples/s, test {fits[-1]['test_accuracy']:.4f}", flush=True
        )
        runs.append(run_lambdafit(options, seed))
        print(f"lambdafit {seed}: {runs[-1]['examples_per_s']:.0f} examples/s, ", end="")
        print(f"test {runs[-1]['answer']['test_accuracy']:.4f}", flush=True)
    result.raw |= {"fit": fits, "lambdafit": runs}
    report(result, fits, runs)
    result.finish(harness.output_folder(options))


def report(result: harness.Result, fits: list[dict[str, Any]], runs: list[dict[str, Any]]) -> None:
    """Tables and goals."""
    rows: list[list[str]] = [["examples per second after the first epoch", "median", "least", "most"]]
    speeds = (
        ("fit, training", fits, "examples_per_s"),
        ("fit, with validation", fits, "examples_per_s_validated"),
        ("lambdafit, whole rounds", runs, "examples_per_s"),
        ("lambdafit, TRAINING phase", runs, "examples_per_s_training"),
        ("lambdafit, steps of one worker", runs, "examples_per_s_worker_steps"),
        ("lambdafit, whole run, imports and test included", runs, "examples_per_s_whole_run"),
    )
    for what, found, key in speeds:
        values = [one[key] for one in found]
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
    result.goal(
        "examples/s in training, of fit's",
        f"{speed:.2f} by whole rounds, {phase:.2f} in the TRAINING phase",
        f">= {SPEED_WANTED} by whole rounds",
        speed >= SPEED_WANTED,
    )
    share = harness.median(ratios)
    result.goal(
        f"wall time to test accuracy {accuracy:.4f}, of fit's",
        f"{share:.2f}",
        f"<= {TIME_WANTED}",
        share <= TIME_WANTED,
    )


if __name__ == "__main__":
    main()
