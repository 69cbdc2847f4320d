"""The use cases' Trainer on Keras and TensorFlow. Importing this module imports TensorFlow."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Mapping, Sequence
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
from training.feature_blocks import load_features
from training.loop import ShardRun, ShardWork
from training.metrics import combine_sums
from training.numerics import fingerprint, pin_threads
from training.samples import looks
from training.shards import Rows
from training.vector_files import Vector
from training.weights import with_local_weights


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
        self._arrays: dict[str, Vector] = {}

    def peak_memory_bytes(self) -> int:
        """See `Trainer.peak_memory_bytes`."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB

    def warm_up(self, run: Run) -> None:
        """Build the model and, where its data are prepared already, load them and trace the training step."""
        compiled = self._compiled(run)
        if compiled.is_on_features and not run.feature_facts.get("files"):
            return
        if run.data_facts:
            compiled.warm_up(*self._data(run, "train"))

    def initial(self, run: Run) -> Initial:
        """See `Trainer.initial`."""
        compiled = self._compiled(run)
        parameters, constants, state = compiled.initial(run.settings.seed)
        return Initial(parameters, compiled.layout.trainable_count, constants, state)

    def features(self, run: Run, split: str, low: int, high: int) -> Vector:
        """See `Trainer.features`."""
        return self._compiled(run).features(self._examples(run, f"x_{split}")[low:high])

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
        x, y = self._data(run, "train")
        return ShardRun(self._compiled(run), work, x, y)

    def validate(self, run: Run, parameters: Vector, constants: Tensors, low: int, high: int) -> Validation:
        """See `Trainer.validate`."""
        x, y = self._data(run, "val")
        found = examine(self._compiled(run), parameters, constants, x[low:high], y[low:high])
        return Validation(found.sums, None if found.answers is None else looks(found.answers, low, len(x)))

    def pictures(self, run: Run, rows: Sequence[int]) -> tuple[bytes, ...]:
        """See `Trainer.pictures`."""
        from training.thumbnails import thumbnails  # imports Pillow, which only a run's first validation needs

        x = self._examples(run, "x_val")
        level = source_named(self._compiled(run).recipe.dataset).max_level
        return thumbnails(x[list(rows)], level)

    def test(self, run: Run, parameters: Vector, constants: Tensors) -> dict[str, float]:
        """See `Trainer.test`."""
        metrics: dict[str, float] = {}
        for split in ("val", "test"):
            x, y = self._data(run, split)
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
        local = with_local_weights(settings.recipe_settings, self._files.local_path)
        return compiled_recipe(location, local, sync=settings.sync)

    def _data(self, run: Run, split: str) -> tuple[Vector, Vector]:
        """What the trained model is given of a split, features where there are some, and the truths."""
        y = self._examples(run, f"y_{split}")
        if not run.feature_facts:
            return self._examples(run, f"x_{split}"), y
        path = run.feature_facts["files"][f"x_{split}"]["path"]
        raw = f"{run.data_facts['folder']}/x_"
        self._arrays = {known: kept for known, kept in self._arrays.items() if not known.startswith(raw)}
        return self._kept(run, path, lambda: load_features(self._files, run.feature_facts, f"x_{split}")), y

    def _examples(self, run: Run, name: str) -> Vector:
        """An array of the run's data set."""
        facts: Mapping[str, Any] = run.data_facts
        return self._kept(run, f"{facts['folder']}/{name}", lambda: load_prepared(self._files, facts, [name])[name])

    def _kept(self, run: Run, path: str, read: Callable[[], Vector]) -> Vector:
        """An array, read once and kept until a run on other data comes."""
        if path not in self._arrays:
            own = (run.data_facts["folder"], run.feature_facts.get("folder"))
            self._arrays = {known: kept for known, kept in self._arrays.items() if known.rpartition("/")[0] in own}
            self._arrays[path] = np.asarray(read())
        return self._arrays[path]
