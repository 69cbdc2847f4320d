"""A run's mathematics in one process: the same shards, steps, weighted sums and outer steps, without the protocol.

Bit for bit what the engine gives with as many TensorFlow threads (`bench_converge.py --check` compares them).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from contracts.records import RoundPlan
from contracts.settings import OuterSettings, RunSettings
from runs.describe_recipe import summarise_recipe
from runs.start import EngineLimits, complete_settings
from runs.trainer import parameters_digest
from stores.shared_files import FolderFiles
from training import shards
from training.combine import mean_weights
from training.compiled import CompiledRecipe, compiled_recipe
from training.datasets.prepare import prepare_dataset
from training.datasets.prepared import load_prepared
from training.datasets.source import source_named
from training.evaluate import evaluate
from training.loop import ShardRun, ShardWork
from training.metrics import combine_sums
from training.outer import outer_step
from training.recipe import load_recipe
from training.vector_files import Vector

SPLITS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test")


@dataclass(frozen=True)
class Outcome:
    """How good a replayed run's parameters are."""

    test_accuracy: float
    val_accuracy: float
    train_loss: float
    rounds: int
    batch_size: int
    parameters_sha256: str


def settings_of(request: Mapping[str, Any]) -> RunSettings:
    """The settings that `lambdafit train` would make of a request, with one TensorFlow thread."""
    wanted = dict(request)
    overrides = {name: str(value) for name, value in wanted.pop("set", {}).items()}
    recipe = summarise_recipe(wanted["recipe"], wanted["recipe"], overrides)
    limits = EngineLimits(concurrency=1, cores=1, time_limit_s=900.0, memory_mb=3008)
    return complete_settings(wanted, recipe, limits)


@cache
def arrays(dataset: str, data_folder: str) -> dict[str, Any]:
    """A data set as the engine prepares it."""
    with tempfile.TemporaryDirectory() as folder:
        files = FolderFiles(Path(folder))
        given = Path(data_folder) if data_folder else None
        facts = prepare_dataset(source_named(dataset), files, data_folder=given, cache_folder=Path(folder))
        return load_prepared(files, facts, SPLITS)


def replay(settings: RunSettings, data_folder: str) -> Outcome:
    """Train as `settings` say, one worker after the other, until the last round."""
    data = arrays(str(load_recipe(settings.recipe).dataset), data_folder)
    compiled = compiled_recipe(settings.recipe, settings.recipe_settings, sync=settings.sync)
    plan = shards.plan_rounds(len(data["x_train"]), settings)
    theta, constants, state = compiled.initial(settings.seed)
    states = [state] * settings.workers
    outer: dict[str, Vector] = {}
    trainable = compiled.layout.trainable_count
    loss = 0.0
    for round_index in range(1, plan.total_rounds + 1):
        updates, counts, losses = [], [], []
        for worker_index in range(settings.workers):
            shard = _shard(compiled, settings, plan, round_index, worker_index, data)
            shard.start(theta, constants, states[worker_index])
            shard.advance(shard.total_steps)
            updates.append(shard.update(theta))
            counts.append(shard.examples)
            losses.append(shard.mean_loss)
            states[worker_index] = shard.worker_state()
        loss = float(np.average(losses, weights=counts))
        mean = weighted_mean(updates, counts)
        gradient = mean[:trainable]
        if settings.sync == "local":
            np.negative(gradient, out=gradient)
        outer_step(theta[:trainable], gradient, outer, settings.outer, round_index)
        theta[trainable:] += mean[trainable:]
    figures = {}
    for split in ("val", "test"):
        sums = evaluate(compiled, theta, constants, data[f"x_{split}"], data[f"y_{split}"])
        figures[split] = combine_sums([sums])["accuracy"]
    digest = parameters_digest(theta)
    return Outcome(figures["test"], figures["val"], loss, plan.total_rounds, settings.batch_size, digest)


def weighted_mean(updates: list[Vector], counts: list[int]) -> Vector:
    """As `training.combine.average_slice`, from memory: in worker order, in the vectors' own type."""
    weights, scale = mean_weights(counts)
    total: Vector | None = None
    for update, weight in zip(updates, weights, strict=True):
        part = update * update.dtype.type(weight)
        total = part if total is None else total + part
    assert total is not None
    total *= total.dtype.type(scale)
    return total


def outer_settings(text: str) -> OuterSettings:
    """`kind:rate[:momentum]` as settings."""
    kind, rate, *momentum = text.split(":")
    return OuterSettings(
        kind=kind,  # type: ignore[arg-type] # checked where settings are made of it
        learning_rate=float(rate),
        momentum=float(momentum[0]) if momentum else OuterSettings().momentum,
    )


def _shard(
    compiled: CompiledRecipe,
    settings: RunSettings,
    plan: RoundPlan,
    round_index: int,
    worker_index: int,
    data: Mapping[str, Any],
) -> ShardRun:
    work = ShardWork(
        sync=settings.sync,
        pieces=shards.shard(plan, settings, round_index, worker_index),
        batch_size=settings.batch_size,
        seed=settings.seed,
        round_index=round_index,
        worker_index=worker_index,
    )
    return ShardRun(compiled, work, data["x_train"], data["y_train"])
