"""All of CIFAR-10 on the features of frozen backbones: accuracy and time, each with pictures of a size.

The published run had all pictures at 224 pixels and saw 26 of 30 shown ones right. The backbone's share grows with the
square of the size; what was run is in the table.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import bench_transfer
import cifar10_subset
import harness
from runs.summary import load
from stores.sqlite import SqliteStore

ACCURACY_WANTED = 0.80
RIGHT_WANTED = 26


def run_one(options: argparse.Namespace, recipe: str, image_size: int, work: Path) -> dict[str, Any]:
    """One `lambdafit train` on all pictures, and what its model sees in the first 30 of the test set."""
    home = work / f"home-{recipe}-{image_size}"
    backbone = recipe.removeprefix("cifar10-")
    weights = cifar10_subset.ready_weights(backbone, bench_transfer.data_folder(), work)
    command = [*harness.cli(), "train", recipe, "--workers", str(options.workers), "--epochs", str(options.epochs)]
    command += ["--seed", "1", "--max-cost-usd", "1000", "--json", "--quiet", "--set", f"image_size={image_size}"]
    command += ["--set", f"weights={weights}"] if weights else []
    finished = harness.run_json(command, bench_transfer.variables(home, work), options.timeout_s)
    run_id = finished.answer["run_id"]
    store = SqliteStore(home / "runs.db")
    task_s = bench_transfer.task_seconds(load(store, store, run_id))
    store.close()
    shown = bench_transfer.predicted(home, run_id, work, options.timeout_s)
    keys = ("test_accuracy", "val_accuracy", "cost_usd", "examples")
    found = {key: finished.answer[key] for key in keys}
    return found | {
        "recipe": recipe,
        "image_size": image_size,
        "wall_s": finished.wall_s,
        "task_s": task_s,
        "shown": shown,
    }


def report(result: harness.Result, runs: list[dict[str, Any]]) -> None:
    """Tables and goals."""
    rows = [["recipe, pixels", "test accuracy", "wall, min", "extract, min", "train, min", "USD", "right of 30"]]
    for run in runs:
        minutes = [run["wall_s"], run["task_s"].get("extract", 0.0), run["task_s"]["train"]]
        cells = [f"{seconds / 60:.1f}" for seconds in minutes]
        right = str(bench_transfer.rights(run["shown"]))
        name = f"{run['recipe']}, {run['image_size']}"
        rows.append([name, f"{run['test_accuracy']:.4f}", *cells, f"{run['cost_usd']:.3f}", right])
    result.table("All 60,000 pictures, as the functions' minutes", rows)
    for run in runs:
        what = f"{run['recipe']} at {run['image_size']} pixels"
        result.table(f"The first 30 test pictures, {what}", bench_transfer.picture_rows(run["shown"]))
        accuracy, right = run["test_accuracy"], bench_transfer.rights(run["shown"])
        wanted = f">= {ACCURACY_WANTED} at 224 pixels"
        result.goal(f"test accuracy, {what}", f"{accuracy:.4f}", wanted, accuracy >= ACCURACY_WANTED)
        result.goal(f"right of the first 30, {what}", str(right), f">= {RIGHT_WANTED}", right >= RIGHT_WANTED)


def case(text: str) -> tuple[str, int]:
    """Recipe and size of the pictures."""
    recipe, _, size = text.partition("@")
    return recipe, int(size)


def main() -> None:
    """Run it."""
    parser = harness.parser(__doc__)
    cases = ["cifar10-mobilenetv2@224", "cifar10-vgg19@64"]
    parser.add_argument("--cases", nargs="+", default=cases, metavar="RECIPE@PIXELS")
    parser.add_argument("--epochs", type=int, default=45)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout-s", type=float, default=6 * 3600.0, help="for one run")
    options = parser.parse_args()
    if options.quick:
        options.cases, options.epochs = ["cifar10-mobilenetv2@32"], 2
    result = harness.begin("cifar10", options)
    with tempfile.TemporaryDirectory(prefix="lambdafit-cifar10-") as folder:
        for recipe, image_size in map(case, options.cases):
            run = run_one(options, recipe, image_size, Path(folder))
            result.raw.setdefault("runs", []).append(run)
            print(f"{recipe} at {image_size}: {run['test_accuracy']:.4f} in {run['wall_s']:.0f} s", flush=True)
    report(result, result.raw["runs"])
    result.finish(harness.output_folder(options))


if __name__ == "__main__":
    main()
