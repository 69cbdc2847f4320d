"""Updates as bfloat16 beside float32: test accuracy, bytes and round time; same recipe and seeds, taking turns."""

from __future__ import annotations

import argparse
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import harness
from contracts.records import Run, TaskKind
from stores.sqlite import SqliteStore

TYPES = ("float32", "bfloat16")
GOAL_ACCURACY = 0.005
"""How much less accurate the mean over the seeds may be."""

GOAL_BYTES = 0.51
"""Of the bytes that combine tasks read as updates: half, and a header."""


def train(options: argparse.Namespace, dtype: str, seed: int) -> dict[str, Any]:
    """One run in a home of its own, and what its store says."""
    with tempfile.TemporaryDirectory(prefix="lambdafit-dtype-") as folder:
        home = Path(folder)
        command = [*harness.cli(), "train", options.recipe, "--workers", str(options.workers), "--json", "--quiet"]
        command += ["--epochs", str(options.epochs), "--seed", str(seed), "--update-dtype", dtype]
        answer = harness.run_json(command, harness.variables(home), options.timeout_s).answer
        store = SqliteStore(home / "runs.db")
        figures = stored_figures(store, store.load_run(answer["run_id"]))
        store.close()
    wanted = ("test_accuracy", "test_loss", "val_accuracy", "rounds", "parameters_sha256", "elapsed_s")
    return {name: answer[name] for name in wanted} | figures


def stored_figures(store: SqliteStore, run: Run) -> dict[str, Any]:
    """Round times, and bytes by round and kind of task."""
    records = store.load_rounds(run.run_id)
    tasks = [task for record in records for task in store.load_tasks(run.run_id, record.round_index).values()]
    updates = [task.report.outputs["update"].bytes for task in tasks if task.key.kind == "train" and task.report]

    def moved(kind: TaskKind) -> tuple[float, float]:
        transfers = [record.transfer for task in tasks if task.key.kind == kind for record in task.history]
        return (
            sum(one.read_bytes for one in transfers) / len(records),
            sum(one.written_bytes for one in transfers) / len(records),
        )

    plain = [
        after.committed_at - before.committed_at
        for before, after in pairwise(records)
        if "val/loss" not in after.metrics
    ]
    return {
        "round_s": plain,
        "update_bytes": sum(updates) / len(records),
        "train_bytes": moved("train"),
        "combine_bytes": moved("combine"),
    }


def main() -> None:
    """Run it."""
    parser = harness.parser(__doc__)
    parser.add_argument("--recipe", default="fashion-mnist-mlp")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--timeout-s", type=float, default=900.0, help="for one run")
    options = parser.parse_args()
    if options.quick:
        options.epochs, options.seeds = 1, 1
    result = harness.begin("update_dtype", options)
    runs: dict[str, list[dict[str, Any]]] = {dtype: [] for dtype in TYPES}
    for seed in range(options.seeds):
        for dtype in TYPES if seed % 2 == 0 else reversed(TYPES):
            found = train(options, dtype, seed)
            runs[dtype].append(found)
            print(f"seed {seed} {dtype}: test accuracy {found['test_accuracy']:.4f}", flush=True)
    result.raw["runs"] = runs
    report(result, runs, options)
    result.finish(harness.output_folder(options))


def report(result: harness.Result, runs: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> None:
    """Tables and goals."""
    rows = [["seed", "float32", "bfloat16", "difference"]]
    accuracies = {dtype: [run["test_accuracy"] for run in runs[dtype]] for dtype in TYPES}
    for seed, (whole, half) in enumerate(zip(*accuracies.values(), strict=True)):
        rows.append([str(seed), f"{whole:.4f}", f"{half:.4f}", f"{half - whole:+.4f}"])
    means = {dtype: sum(values) / len(values) for dtype, values in accuracies.items()}
    difference = means["bfloat16"] - means["float32"]
    rows.append(["mean", f"{means['float32']:.4f}", f"{means['bfloat16']:.4f}", f"{difference:+.4f}"])
    result.table(f"Test accuracy after {options.epochs} epochs, {options.workers} workers", rows)
    shown = [["a round", *TYPES]]
    for what, key, index in (
        ("updates, MB", "update_bytes", None),
        ("combine tasks read, MB", "combine_bytes", 0),
        ("train tasks read, MB", "train_bytes", 0),
        ("train tasks write, MB", "train_bytes", 1),
    ):
        cells = [_figure(runs[dtype][0], key, index) / 1e6 for dtype in TYPES]
        shown.append([what, *(f"{cell:.2f}" for cell in cells)])
    rounds = {dtype: harness.spread(1e3 * s for run in runs[dtype] for s in run["round_s"]) for dtype in TYPES}
    shown.append(["median, ms", *(f"{rounds[dtype]['median']:.1f}" for dtype in TYPES)])
    shown.append(["quartiles, ms", *(f"{rounds[dtype]['q1']:.1f} to {rounds[dtype]['q3']:.1f}" for dtype in TYPES)])
    result.table("Bytes and time", shown)
    wanted = f">= float32's {means['float32']:.4f} - {GOAL_ACCURACY}"
    reached = difference >= -GOAL_ACCURACY
    result.goal("test accuracy with bfloat16 updates", f"{means['bfloat16']:.4f}", wanted, reached)
    share = runs["bfloat16"][0]["update_bytes"] / runs["float32"][0]["update_bytes"]
    result.goal("bytes of updates, of float32's", f"{share:.3f}", f"<= {GOAL_BYTES}", share <= GOAL_BYTES)


def _figure(run: dict[str, Any], key: str, index: int | None) -> float:
    return float(run[key] if index is None else run[key][index])


if __name__ == "__main__":
    main()
