"""The points of `bench_growth.py`: what is varied, the recipe that is run at each, and what its records tell."""

from __future__ import annotations

import re
import shutil
import time
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import msgspec

import harness
from runs.bill import recorded_usage
from runs.estimate import measured_sizes
from runs.growth import MEGABYTE
from runs.price_list import price_list
from runs.summary import RunHistory, load
from runs.usage import bill_lines, total_usd
from stores.sqlite import SqliteStore

COUNTED = ("train", "combine")
"""Kinds of task whose bytes are a round's."""

RECIPE = Path(__file__).resolve().parent / "growth_recipe.py"
EXAMPLES_LINE = re.compile(r"^EXAMPLES = .*$", re.MULTILINE)


class Point(NamedTuple):
    """One run's size.

    Args:
        units: of both dense layers, which decide the parameters.
        examples: of the data set, a tenth of which becomes the validation split.
        steps: of a worker in a round; None: as the defaults choose.
        recipe: another recipe than the made one, by its name; `units` and `examples` then say nothing.
        more: further options of `lambdafit train`.
    """

    name: str
    workers: int = 4
    units: int = 280
    examples: int = 8_000
    rounds: int = 16
    batch_size: int = 16
    steps: int | None = 20
    recipe: str = ""
    more: tuple[str, ...] = ()

    def command(self, folder: Path) -> list[str]:
        """The command line, its recipe written into `folder`."""
        recipe = self.recipe or str(write_recipe(folder, self.examples))
        command = [*harness.cli(), "train", recipe, "--workers", str(self.workers), "--rounds", str(self.rounds)]
        command += ["--batch-size", str(self.batch_size), "--json", "--quiet", "--seed", "1", "--max-cost-usd", "1000"]
        command += ["--steps-per-round", str(self.steps)] if self.steps else []
        command += [] if self.recipe else ["--set", f"units={self.units}"]
        return [*command, *self.more]


BASE = Point("base")

FITTED = (
    BASE,
    BASE._replace(name="1 worker", workers=1),
    BASE._replace(name="2 workers", workers=2),
    BASE._replace(name="8 workers", workers=8),
    BASE._replace(name="16 workers", workers=16),
    BASE._replace(name="9 k parameters", units=64),
    BASE._replace(name="1 M parameters", units=960, rounds=8),
    BASE._replace(name="1 M, Adam", units=960, rounds=8, more=("--set", "optimizer=adam")),
    BASE._replace(name="5 M parameters", units=2_200, rounds=5, steps=6),
    BASE._replace(name="20 M parameters", units=4_400, rounds=4, steps=3),
    BASE._replace(name="1 k examples, 5 steps", examples=1_000, steps=5),
    BASE._replace(name="64 k examples", examples=64_000),
    BASE._replace(name="4 rounds", rounds=4),
    BASE._replace(name="64 rounds", rounds=64),
    BASE._replace(name="100 steps", steps=100),
    BASE._replace(name="batch 128, 8 steps", batch_size=128, steps=8),
    BASE._replace(name="1 M, batch 128", units=960, rounds=6, steps=10, batch_size=128),
    BASE._replace(name="5 M, batch 128, 16 workers", workers=16, units=2_200, rounds=4, steps=1, batch_size=128),
)
"""A point, and others that differ from it in what their names say; large ones have fewer rounds and steps."""

HELD_BACK = (
    Point("2 workers, 400 k", 2, 600, 20_000, 10, 32, 30),
    Point("6 workers, 2.4 M", 6, 1_500, 4_000, 5, 8, 10),
    Point("12 workers, 34 k", 12, 150, 30_000, 24, 8, 15),
    Point("3 workers, 9.2 M", 3, 3_000, 8_000, 4, 32, 5),
    Point("4 workers, 540 k, Adam", 4, 700, 8_000, 8, 32, 20, more=("--set", "optimizer=adam")),
    Point("4 workers, 1.5 M, bfloat16", 4, 1_200, 8_000, 8, 16, 15, more=("--update-dtype", "bfloat16")),
    Point("digits-mlp", 4, rounds=60, batch_size=16, steps=None, recipe="digits-mlp"),
    Point("fashion-mnist-mlp", 4, rounds=12, batch_size=16, steps=None, recipe="fashion-mnist-mlp"),
)
"""Never fitted: mixed sizes, other optimizers and types, and two of lambdafit's own recipes."""

QUICK_FITTED = (
    BASE._replace(name="base", rounds=8),
    BASE._replace(name="16 workers", workers=16, rounds=6),
    BASE._replace(name="1 M, batch 64", units=960, rounds=4, batch_size=64, steps=10),
    BASE._replace(name="5 M parameters", units=2_200, rounds=3, steps=3),
)
QUICK_HELD_BACK = (Point("2 workers, 400 k", 2, 600, 20_000, 6, 32, 20), HELD_BACK[6]._replace(rounds=20))


def write_recipe(folder: Path, examples: int) -> Path:
    """The made recipe with so many examples."""
    path = folder / f"growth_{examples}.py"
    path.write_text(EXAMPLES_LINE.sub(f"EXAMPLES = {examples}", RECIPE.read_text(), count=1))
    return path


def measure(point: Point, folder: Path, timeout_s: float) -> dict[str, Any]:
    """One run in a new home, from the command's start to its end."""
    home = folder / f"home-{time.monotonic_ns()}"
    finished = harness.run_json(point.command(folder), harness.variables(home), timeout_s)
    store = SqliteStore(home / "runs.db")
    history = load(store, store, finished.answer["run_id"])
    store.close()
    shutil.rmtree(home)
    return {"name": point.name} | recorded(history, finished.started_at, finished.wall_s)


def recorded(history: RunHistory, started_at: float, wall_s: float) -> dict[str, Any]:
    """A run's figures, as `growth_lines` takes them: JSON-ready.

    Args:
        started_at: of the command, seconds since 1970.
    """
    run, sizes = history.run, measured_sizes(history)
    assert sizes is not None and run.plan is not None
    trains = [task for task in history.tasks if task.key.kind == "train"]
    dispatched_at = min(record.started_at for task in trains for record in task.history)
    steady = [batch for batch in history.steps if batch.round_index > 1]
    usage = recorded_usage(history, run.ended_at)
    return {
        "settings": msgspec.to_builtins(run.settings),
        "plan": msgspec.to_builtins(run.plan),
        "sizes": sizes._asdict(),
        "wall_s": wall_s,
        "start_s": dispatched_at - started_at,
        "first_round_s": history.rounds[0].committed_at - dispatched_at,
        "rounds": _rounds(history),
        "finish_s": started_at + wall_s - history.rounds[-1].committed_at,
        "step_s": mean(ms / 1e3 for batch in steady for ms in batch.durations_ms),
        "tasks": [_task(history, kind) for kind in ("train", "combine")],
        "cold_s": _cold_s(history),
        "build_s": _span_s(history, "initialise", "build"),
        "read_bytes": usage.transfer.read_bytes,
        "written_bytes": usage.transfer.written_bytes,
        "invocations": usage.invocations,
        "table_reads": usage.table_reads,
        "table_writes": usage.table_writes,
        "usd": total_usd(bill_lines(usage, price_list())),
    }


def _rounds(history: RunHistory) -> list[dict[str, float]]:
    """Of each round but the first: its seconds, those of its workers' steps together, and the megabytes moved."""
    found = []
    for before, after in pairwise(history.rounds):
        index = after.round_index
        tasks = [task for task in history.tasks if task.key.round_index == index and task.key.kind in COUNTED]
        moved = [record.transfer for task in tasks for record in task.history]
        found.append(
            {
                "round_s": after.committed_at - before.committed_at,
                "steps_s": sum(sum(batch.durations_ms) / 1e3 for batch in history.steps if batch.round_index == index),
                "moved_mb": sum(one.read_bytes + one.written_bytes for one in moved) / MEGABYTE,
                "validates": float("val/loss" in after.metrics),
            }
        )
    return found


def _task(history: RunHistory, kind: str) -> dict[str, float]:
    """A usual task of a kind, of the rounds after the first: seconds beside its computing, and megabytes moved."""
    computed = {
        (batch.key, batch.attempt): sum(
            span.end_s - span.start_s for span in batch.spans if span.name in ("compute", "evaluate")
        )
        for batch in history.spans
    }
    beside, moved = [], []
    for task in history.tasks:
        if task.key.kind == kind and task.key.round_index > 1:
            for record in task.history:
                took_s = record.ended_at - record.started_at
                beside.append(took_s - computed.get((task.key, record.attempt), 0.0))
                moved.append((record.transfer.read_bytes + record.transfer.written_bytes) / MEGABYTE)
    return {"beside_s": sum(beside) / len(beside), "moved_mb": sum(moved) / len(moved)}


def _cold_s(history: RunHistory) -> float:
    """What environments of Train took before their first task, each; the mean."""
    spans = [batch.spans for batch in history.spans if batch.key.kind in ("train", "initialise")]
    colds = [
        sum(span.end_s - span.start_s for span in of_task if span.name == "init")
        for of_task in spans
        if any(span.name == "init" for span in of_task)
    ]
    return sum(colds) / max(1, len(colds))


def _span_s(history: RunHistory, kind: str, name: str) -> float:
    """Seconds of one kind of span of a kind of task, together."""
    return sum(
        span.end_s - span.start_s
        for batch in history.spans
        if batch.key.kind == kind
        for span in batch.spans
        if span.name == name
    )
