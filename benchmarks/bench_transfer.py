"""A frozen VGG19 whose outputs are computed once, beside the published way, which computes them in every epoch.

The same pictures, epochs, head, seed and workers: the first 2,000 pictures of CIFAR-10 by default. Compute is the time
that functions worked, all of them together; processes that wait cost nothing. Reading the data, building the backbone
and training the head take some ten seconds at any size of the pictures, the backbone's own work grows with its square.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import cifar10_subset
import harness
from runs.summary import RunHistory, load
from stores.sqlite import SqliteStore

RECIPE = Path(__file__).resolve().parent / "cifar10_subset.py"
TIMES_WANTED = 30.0
DIFFERENCE_WANTED = 0.005
SHOWN = 30
ON, OFF = "on", "off"


def train(options: argparse.Namespace, home: Path, features: str, work: Path) -> dict[str, Any]:
    """One `lambdafit train`; what its functions worked, by kind of task."""
    command = [*harness.cli(), "train", str(RECIPE), "--workers", str(options.workers), "--json", "--quiet"]
    command += ["--epochs", str(options.epochs), "--steps-per-round", str(options.steps_per_round), "--seed", "1"]
    command += ["--batch-size", str(options.batch_size), "--max-cost-usd", "1000"]
    settings = {"features": features, "image_size": options.image_size, "weights": weights(work)}
    command += [text for name, value in settings.items() if value != "" for text in ("--set", f"{name}={value}")]
    finished = harness.run_json(command, variables(home, work), options.timeout_s)
    store = SqliteStore(home / "runs.db")
    history = load(store, store, finished.answer["run_id"])
    store.close()
    seconds = task_seconds(history)
    return {
        "features": features,
        "run_id": finished.answer["run_id"],
        "wall_s": finished.wall_s,
        "test_accuracy": finished.answer["test_accuracy"],
        "cost_usd": finished.answer["cost_usd"],
        "task_s": seconds,
        "compute_s": sum(seconds.values()),
    }


def task_seconds(history: RunHistory) -> dict[str, float]:
    """Kind of task → seconds of all its attempts."""
    found: dict[str, float] = {}
    for task in history.tasks:
        worked_s = sum(record.ended_at - record.started_at for record in task.history)
        found[task.key.kind] = found.get(task.key.kind, 0.0) + worked_s
    return found


def weights(work: Path) -> str:
    """The backbone's."""
    return cifar10_subset.ready_weights("vgg19", data_folder(), work)


def variables(home: Path, work: Path) -> dict[str, str]:
    """A child's environment, with CIFAR-10 in its data folder."""
    data = cifar10_subset.ready_data(data_folder(), work)
    return harness.variables(home) | ({"LAMBDAFIT_DATA": str(data)} if data is not None else {})


def data_folder() -> Path | None:
    """Where data sets are looked for."""
    return Path(harness.data_folder()) if harness.data_folder() else None


def predicted(home: Path, run_id: str, work: Path, timeout_s: float) -> list[dict[str, Any]]:
    """What the run's model sees in the first pictures of the test set, as a user would ask: by picture files."""
    from training.datasets.fetch import check_source
    from training.datasets.source import source_named

    source = source_named(cifar10_subset.recipe.dataset)
    data = cifar10_subset.ready_data(data_folder(), work)
    arrays = source.load(check_source(source, data, home / "downloads"))
    folder = work / "pictures"
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{index:02d}.png" for index in range(SHOWN)]
    for path, pixels in zip(paths, arrays.x_test[:SHOWN], strict=True):
        Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    command = [*harness.cli(), "predict", run_id, *map(str, paths), "--json"]
    found = harness.run_json(command, variables(home, work), timeout_s).answer["predictions"]
    truths = [source.class_names[int(label)] for label in arrays.y_test[:SHOWN]]
    return [
        {"truth": truth, "predicted": one["class_name"], "confidence": one["confidence"]}
        for truth, one in zip(truths, found, strict=True)
    ]


def report(result: harness.Result, runs: list[dict[str, Any]], shown: list[dict[str, Any]]) -> None:
    """Tables and goals."""
    kinds = sorted({kind for run in runs for kind in run["task_s"]})
    rows = [
        ["backbone's outputs", "test accuracy", "functions, s", *(f"{kind}, s" for kind in kinds), "wall, s", "USD"]
    ]
    for run in runs:
        name = "computed once" if run["features"] == ON else "in every step"
        parts = [f"{run['task_s'].get(kind, 0.0):.1f}" for kind in kinds]
        costs = [f"{run['wall_s']:.0f}", f"{run['cost_usd']:.4f}"]
        rows.append([name, f"{run['test_accuracy']:.4f}", f"{run['compute_s']:.1f}", *parts, *costs])
    result.table("The same pictures, epochs, head and seed", rows)
    result.table(f"The first {len(shown)} test pictures, {rights(shown)} of them right", picture_rows(shown))
    on = [run for run in runs if run["features"] == ON]
    off = [run for run in runs if run["features"] == OFF]
    times = harness.median(run["compute_s"] for run in off) / harness.median(run["compute_s"] for run in on)
    apart = abs(on[0]["test_accuracy"] - off[0]["test_accuracy"])
    wanted = f">= {TIMES_WANTED:g} times less"
    enough = None if result.quick else times >= TIMES_WANTED
    result.goal("compute, computed once against in every step", f"{times:.1f} times less", wanted, enough)
    result.goal("test accuracy, difference", f"{apart:.4f}", f"<= {DIFFERENCE_WANTED}", apart <= DIFFERENCE_WANTED)


def rights(shown: list[dict[str, Any]]) -> int:
    """How many pictures were seen as what they are."""
    return sum(one["truth"] == one["predicted"] for one in shown)


def picture_rows(shown: list[dict[str, Any]]) -> list[list[str]]:
    """A table of pictures."""
    body = [[str(i), one["truth"], one["predicted"], f"{one['confidence']:.2f}"] for i, one in enumerate(shown)]
    return [["picture", "truth", "predicted", "confidence"], *body]


def main() -> None:
    """Run it."""
    parser = harness.parser(__doc__)
    parser.add_argument("--epochs", type=int, default=45)
    parser.add_argument("--image-size", type=int, default=48)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32, help="of one worker's step")
    parser.add_argument("--steps-per-round", type=int, default=29, help="an epoch of both workers by default")
    parser.add_argument("--timeout-s", type=float, default=7200.0, help="for one run")
    options = parser.parse_args()
    if options.quick:
        options.epochs, options.image_size = 1, 32
    result = harness.begin("transfer", options)
    with tempfile.TemporaryDirectory(prefix="lambdafit-transfer-") as folder:
        work = Path(folder)
        warm_up = argparse.Namespace(**vars(options) | {"epochs": 1, "image_size": 32})
        train(warm_up, work / "home-warm-up", ON, work)
        runs = []
        for index, features in enumerate((ON, OFF, ON)):  # the second time in a home that has no features yet, either
            runs.append(train(options, work / f"home-{index}", features, work))
            print(json.dumps({name: runs[-1][name] for name in ("features", "compute_s", "test_accuracy")}), flush=True)
        shown = predicted(work / "home-0", runs[0]["run_id"], work, options.timeout_s)
    result.raw = {"runs": runs, "shown": shown}
    report(result, runs, shown)
    result.finish(harness.output_folder(options))


if __name__ == "__main__":
    main()
