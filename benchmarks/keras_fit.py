"""A peer of `bench_fit.py` and `bench_peers.py`: `keras.Model.fit` of a recipe's own model. Prints one JSON line.

The data set is loaded and split as lambdafit does it, and lies in memory as NumPy arrays. TensorFlow's threads are
its own choice. After each epoch the test set is evaluated; that time is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import keras

from stores.shared_files import FolderFiles
from training.datasets.prepare import prepare_dataset
from training.datasets.prepared import load_prepared
from training.datasets.source import source_named
from training.recipe import load_recipe

SPLITS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test")


class Watch(keras.callbacks.Callback):
    """Seconds of each epoch: in training alone, and with the validation."""

    def __init__(self, test: tuple[Any, Any], until_accuracy: float) -> None:
        super().__init__()
        self.epochs: list[dict[str, float]] = []
        self.uncounted_s = 0.0
        self.first_step_at = 0.0
        self._test = test
        self._until_accuracy = until_accuracy
        self._began = self._trained = 0.0
        self._testing_apart = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self._began, self._trained = time.perf_counter(), 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note when the first step, or the first steps that were one call, had been done."""
        if not self.first_step_at:
            self.first_step_at = time.time()

    def on_test_begin(self, logs: Any = None) -> None:
        """Training of this epoch has ended, validation begins."""
        if not self._testing_apart:
            self._trained = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop the clock, then look at the test set."""
        ended = time.perf_counter()
        self._testing_apart = True
        accuracy = self.model.evaluate(*self._test, batch_size=512, verbose=0, return_dict=True)["accuracy"]
        self._testing_apart = False
        self.model.stop_training = accuracy >= self._until_accuracy
        self.uncounted_s += time.perf_counter() - ended
        self.epochs.append(
            {
                "training_s": (self._trained or ended) - self._began,
                "epoch_s": ended - self._began,
                "counted_at": time.time() - self.uncounted_s,
                "test_accuracy": accuracy,
                "val_accuracy": (logs or {}).get("val_accuracy", 0.0),
            }
        )


def load(dataset: str) -> dict[str, Any]:
    """The arrays of a data set as a run of lambdafit sees them."""
    with tempfile.TemporaryDirectory() as folder:
        files = FolderFiles(Path(folder))
        given = Path(os.environ["LAMBDAFIT_DATA"]) if os.environ.get("LAMBDAFIT_DATA") else None
        facts = prepare_dataset(source_named(dataset), files, data_folder=given, cache_folder=Path(folder))
        return load_prepared(files, facts, SPLITS)


def main() -> None:
    """Fit, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="fashion-mnist-mlp")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps-per-execution", type=int, default=1, help="that Keras does in one call")
    parser.add_argument("--jit-compile", choices=["auto", "on", "off"], default="auto")
    parser.add_argument("--until-accuracy", type=float, default=2.0, help="of the test set: stop when it is as good")
    parser.add_argument("--no-validation", action="store_true", help="train only")
    options = parser.parse_args()
    keras.utils.set_random_seed(options.seed)
    recipe = load_recipe(options.recipe)
    settings = dict(recipe.settings)
    data = load(str(recipe.dataset))
    model = recipe.build_model(settings)
    model.compile(
        optimizer=recipe.build_optimizer(settings),
        loss=recipe.build_loss(settings),
        metrics=["accuracy"],
        steps_per_execution=options.steps_per_execution,
        jit_compile={"auto": "auto", "on": True, "off": False}[options.jit_compile],
    )
    watch = Watch((data["x_test"], data["y_test"]), options.until_accuracy)
    fit_at = time.time()
    model.fit(
        data["x_train"],
        data["y_train"],
        batch_size=options.batch_size,
        epochs=options.epochs,
        validation_data=None if options.no_validation else (data["x_val"], data["y_val"]),
        verbose=0,
        callbacks=[watch],
    )
    marks = {"fit_at": fit_at, "first_step_at": watch.first_step_at, "examples": len(data["x_train"])}
    json.dump(marks | {"epochs": watch.epochs}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
