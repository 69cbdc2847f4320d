"""The use cases' Trainer on Keras and TensorFlow. Importing this module imports TensorFlow."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from contracts.ports import SharedFiles
from contracts.records import Run
from runs.trainer import Initial, ShardInProgress, Tensors, Validation
from training.compiled import CompiledRecipe, compiled_recipe
from training.datasets.prepared import load_prepared
from training.datasets.source import source_named
from training.evaluate import evaluate, examine
from training.export import export_keras, export_safetensors
from training.loop import ShardRun, ShardWork
from training.metrics import combine_sums
from training.numerics import fingerprint, pin_threads
from training.samples import looks
from training.shards import Rows
from training.vector_files import Vector


class KerasTrainer:
    """Implements `runs.trainer.Trainer`. Keeps the built model and the data warm between invocations.

    Args:
        files: where user recipes and prepared data lie.
        threads: of TensorFlow, pinned for the whole process.
    """

    def __init__(self, files: SharedFiles, threads: int) -> None:
        pin_threads(threads)
        self.fingerprint = fingerprint()
        self._files = files
        self._data_folder = ""
        self._arrays: dict[str, Vector] = {}

    def peak_memory_bytes(self) -> int:
        """See `Trainer.peak_memory_bytes`."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB

    def initial(self, run: Run) -> Initial:
        """See `Trainer.initial`."""
        compiled = self._compiled(run)
        parameters, constants, state = compiled.initial(run.settings.seed)
        return Initial(parameters, compiled.layout.trainable_count, constants, state)

    def shard(self, run: Run, round_index: int, worker_index: int, pieces: Sequence[Rows]) -> ShardInProgress:
        """See `Trainer.shard`."""
        settings = run.settings
        work = ShardWork(
            sync=settings.sync,
            pieces=pieces,
            batch_size=settings.batch_size,
            seed=settings.seed,
            round_index=round_index,
            worker_index=worker_index,
        )
        x, y = self._data(run, "x_train", "y_train")
        return ShardRun(self._compiled(run), work, x, y)

    def validate(self, run: Run, parameters: Vector, constants: Tensors, low: int, high: int) -> Validation:
        """See `Trainer.validate`."""
        x, y = self._data(run, "x_val", "y_val")
        found = examine(self._compiled(run), parameters, constants, x[low:high], y[low:high])
        return Validation(found.sums, None if found.answers is None else looks(found.answers, low, len(x)))

    def pictures(self, run: Run, rows: Sequence[int]) -> tuple[bytes, ...]:
        """See `Trainer.pictures`."""
        from training.thumbnails import thumbnails  # imports Pillow, which only a run's first validation needs

        x, _ = self._data(run, "x_val", "y_val")
        level = source_named(self._compiled(run).recipe.dataset).max_level
        return thumbnails(x[list(rows)], level)

    def test(self, run: Run, parameters: Vector, constants: Tensors) -> dict[str, float]:
        """See `Trainer.test`."""
        metrics: dict[str, float] = {}
        for split in ("val", "test"):
            x, y = self._data(run, f"x_{split}", f"y_{split}")
            if len(x):
                sums = combine_sums([evaluate(self._compiled(run), parameters, constants, x, y)])
                metrics |= {f"{split}_{name}": value for name, value in sums.items()}
        return metrics

    def export(self, run: Run, parameters: Vector, constants: Tensors) -> dict[str, bytes]:
        """See `Trainer.export`."""
        compiled = self._compiled(run)
        return {
            "keras": export_keras(compiled, parameters, constants),
            "safetensors": export_safetensors(compiled, parameters, constants),
        }

    def _compiled(self, run: Run) -> CompiledRecipe:
        settings = run.settings
        location = settings.recipe
        if location.endswith(".py"):
            location = self._files.local_path(location)
        return compiled_recipe(location, settings.recipe_settings, sync=settings.sync)

    def _data(self, run: Run, x_name: str, y_name: str) -> tuple[Vector, Vector]:
        """Two arrays of the run's data set: read once, kept until another data set is asked for."""
        facts: Mapping[str, Any] = run.data_facts
        if facts["folder"] != self._data_folder:
            self._data_folder, self._arrays = facts["folder"], {}
        missing = [name for name in (x_name, y_name) if name not in self._arrays]
        if missing:
            self._arrays |= load_prepared(self._files, facts, missing)
        return np.asarray(self._arrays[x_name]), np.asarray(self._arrays[y_name])
