"""Homes for the containers: one real run of digits-mlp, copied at the moments that the sample events speak of.

`python sample_homes.py FOLDER`: drives the functions' own handlers in this process, one task after the other, and
writes FOLDER/<moment>.tar, and the data set as the bucket holds it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

RUN_ID = "r-7f3a9c01b2"
WORKERS = 5
ROUND = 7
"""Round 7 of 5 workers, in 2 slices: what events/train-full.json and events/combine-full.json name."""

MOMENTS = (
    "preparing",
    "extracting",
    "initialising",
    "training",
    "trained",
    "combining",
    "combining-again",
    "committed",
)

TRANSFER = """
import keras
from training.recipe import Recipe

def build_backbone(settings):
    return keras.Sequential([keras.Input((8, 8)), keras.layers.Flatten(), keras.layers.Dense(16, "relu")])

def build_head(settings):
    return keras.Sequential([keras.Input((16,)), keras.layers.Dense(10, "softmax")])

recipe = Recipe(
    name="small-transfer", title="digits, a frozen layer, a new head", dataset="digits", build_model=build_head,
    build_backbone=build_backbone, build_optimizer=lambda settings: keras.optimizers.Adam(),
    build_loss=lambda settings: keras.losses.SparseCategoricalCrossentropy(),
)
"""
"""A recipe with a frozen backbone that needs no weights."""

Call = tuple[str, Mapping[str, Any]]


class Context:
    """A Lambda context without a time limit."""

    aws_request_id = "00000000-0000-0000-0000-000000000000"
    function_name = "sample"

    def get_remaining_time_in_millis(self) -> int:
        """A quarter of an hour."""
        return 900_000


class Queue:
    """Implements `contracts.ports.Invoker`: keeps what is to be invoked."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        """Keep it."""
        self.calls.append((function, event))

    def invoke_all(self, calls: Sequence[Call]) -> list[None]:
        """Keep them."""
        self.calls.extend(calls)
        return [None] * len(calls)

    def warm_up(self, run_id: str, environments: int) -> None:
        """See `Invoker.warm_up`: nothing is cold here."""

    def take(self) -> list[Call]:
        """What was kept; nothing is left."""
        calls, self.calls = self.calls, []
        return calls


class SampleRun:
    """The run, and who drives it."""

    def __init__(self, home: Path, output: Path, recipe_path: str = "") -> None:
        os.environ |= {"LAMBDAFIT_HOME": str(home), "LAMBDAFIT_THREADS": "1"}
        from msgspec.structs import replace

        from handlers import combine, prepare, train, wiring
        from runs import recipes, start

        wiring.environment.cache_clear()
        wiring.services.cache_clear()
        self.home, self.output = home, output
        self.queue = Queue()
        self.handlers: dict[str, Callable[..., Any]] = {
            "prepare": prepare.handler,
            "train": train.handler,
            "combine": combine.handler,
        }
        services = wiring.services()
        self.services = type(services)(
            services.store, services.telemetry, services.files, self.queue, services.clock, services.randomness
        )
        recipe = recipes.describe(recipe_path or start.DEFAULT_RECIPE, {})
        recipes.keep(services.files, recipe_path or start.DEFAULT_RECIPE, recipe)
        limits = start.lambda_limits(workers=WORKERS, threads=1, time_limit_s=900.0, memory_mb=3_008)
        settings = start.complete_settings({"workers": WORKERS, "rounds": ROUND + 1, "slices": 2}, recipe, limits)
        start.start(self.services, replace(settings, offer_s=86_400.0), RUN_ID)

    def decide(self) -> list[Call]:
        """Reconcile: what is to be invoked now."""
        from runs.reconcile import reconcile

        reconcile(self.services, RUN_ID)
        return self.queue.take()

    def work(self, calls: Sequence[Call]) -> list[str]:
        """Do tasks, one after the other: what came of them."""
        return [self.handlers[function](event, Context())["outcome"] for function, event in calls]

    def keep(self, moment: str) -> None:
        """Pack the home as it stands."""
        self.services.store.make_durable()
        with tarfile.open(self.output / f"{moment}.tar", "w") as packed:
            for path in sorted(self.home.iterdir()):
                packed.add(path, path.name)

    def tear_an_update(self) -> None:
        """Write other bytes over one worker's update of the round."""
        tasks = self.services.store.load_tasks(RUN_ID, ROUND)
        (report,) = (task.report for key, task in tasks.items() if key.kind == "train" and key.index == 2)
        path = Path(self.services.files.local_path(report.outputs["update"].path))
        content = bytearray(path.read_bytes())
        content[-64:] = bytes(64)
        path.write_bytes(content)


def keep_bucket(shared: Path, bucket: Path) -> None:
    """The data set as `lambdafit data push` leaves it in the bucket."""
    (folder,) = (path for path in (shared / "datasets").iterdir() if path.is_dir())
    shutil.copytree(folder, bucket / "datasets" / folder.name)
    (bucket / "datasets/digits.json").write_text(json.dumps({"folder": f"datasets/{folder.name}"}))


def make(output: Path) -> None:
    """Make all homes and the bucket below `output`."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        run = SampleRun(home, output)
        calls = run.decide()
        run.keep("preparing")
        run.work(calls)
        keep_bucket(home / "shared", output / "bucket")
        calls = run.decide()
        run.keep("initialising")
        while calls[0][1].get("round_index") != ROUND:
            run.work(calls)
            calls = run.decide()
        run.keep("training")
        run.work(calls)
        run.keep("trained")
        calls = run.decide()
        run.keep("combining")
        run.tear_an_update()
        outcomes = run.work(calls)
        if outcomes != ["done", "failed"]:
            raise RuntimeError(f"an update was torn within slice 1, but the slices came to {outcomes}")
        run.work(run.decide())
        calls = run.decide()
        run.keep("combining-again")
        run.work(calls)
        run.decide()
        run.keep("committed")


def make_extracting(output: Path) -> None:
    """Make the home of another run, with a frozen backbone, whose outputs are yet to be computed."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as home:
        recipe = Path(folder) / "small_transfer.py"
        recipe.write_text(TRANSFER)
        run = SampleRun(Path(home), output, str(recipe))
        run.work(run.decide())
        run.decide()
        run.keep("extracting")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    make(target)
    make_extracting(target)  # last, as a function keeps the home that it first had: this run's are not asked to train
