"""One process that trains, and what it tells of the time: `lambdafit train`, or a peer that prints its marks.

A peer prints one JSON object: `fit_at`, `first_step_at` and each epoch's `counted_at` as the clock's seconds since
1970, each epoch's `training_s`, `epoch_s` and `test_accuracy`, and how many `examples` an epoch has.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import harness
from contracts.records import Task
from runs.summary import RunHistory, load, summarise
from stores.sqlite import SqliteStore

HERE = Path(__file__).resolve().parent


def run_fit(options: argparse.Namespace, seed: int, *more: str) -> dict[str, Any]:
    """One process that runs `keras.Model.fit`; `more` options of keras_fit.py."""
    command = [sys.executable, str(HERE / "keras_fit.py"), *peer_arguments(options, seed), *more]
    return run_peer(command, harness.variables(), options.timeout_s)


def run_products(options: argparse.Namespace) -> dict[str, float] | None:
    """What TensorFlow can do at most here: as many processes as workers do a step's matrix products alone, at once.

    Returns:
        `examples_per_s` of all together, and the `gflops` of one; None where the recipe has other layers than dense.
    """
    command = [sys.executable, str(HERE / "matrix_products.py"), "--recipe", options.recipe]
    command += ["--batch-size", str(options.batch_size)]
    with ThreadPoolExecutor(options.workers) as pool:
        runs = [
            pool.submit(harness.run_json, command, harness.variables(), options.timeout_s)
            for _ in range(options.workers)
        ]
        found = [run.result().answer for run in runs]
    if None in found:
        return None
    return {
        "examples_per_s": sum(one["examples_per_s"] for one in found),
        "gflops": harness.median(one["gflops"] for one in found),
    }


def peer_arguments(options: argparse.Namespace, seed: int) -> list[str]:
    """What every peer is told."""
    values = {"recipe": options.recipe, "epochs": options.epochs, "batch-size": options.batch_size, "seed": seed}
    return [text for key, value in values.items() for text in (f"--{key}", str(value))]


def run_peer(command: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> dict[str, Any]:
    """Run a peer; seconds from its start to the end of each epoch, tests not counted.

    Raises:
        ChildFailed: it did not end well or in time.
    """
    finished = harness.run_json(command, environment, timeout_s)
    found = finished.answer
    epochs = [epoch | {"since_start_s": epoch["counted_at"] - finished.started_at} for epoch in found["epochs"]]
    steady = epochs[1:] or epochs  # the first one compiles
    return {
        "epochs": epochs,
        "examples": found["examples"],
        "before_fit_s": found["fit_at"] - finished.started_at,
        "first_step_s": found["first_step_at"] - finished.started_at,
        "examples_per_s": found["examples"] / harness.median(epoch["training_s"] for epoch in steady),
        "examples_per_s_validated": found["examples"] / harness.median(epoch["epoch_s"] for epoch in steady),
        "test_accuracy": epochs[-1]["test_accuracy"],
        "wall_s": finished.wall_s,
        "versions": found.get("versions", {}),
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
    first_step_at = min(batch.ended_at - sum(batch.durations_ms) / 1e3 for batch in history.steps)
    summary = summarise(history, run.ended_at)
    return {
        "examples_per_s": harness.median(rounds),
        "examples_per_s_training": harness.median(phases),
        "examples_per_s_worker_steps": sum(step_examples) / sum(step_s),
        "step_ms": harness.spread(duration * 1e3 for duration in step_s),
        "outside_training_ms": harness.spread(wait * 1e3 for wait in waits),
        "examples_per_s_whole_run": run.examples_seen / (run.ended_at - run.started_at),
        "first_step_s": first_step_at - started_at,
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
