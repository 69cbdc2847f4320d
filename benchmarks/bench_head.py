"""Which head goes behind a frozen backbone: normalisation, dropout and learning rate, chosen by validation accuracy.

The first pictures of CIFAR-10's training, validation and test split, as lambdafit makes them; their features are
computed once, as a run does it, and every head trains on these. The test pictures are looked at once, for the head
that was chosen, after it was chosen.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import cifar10_subset
import harness
from stores.shared_files import FolderFiles
from training.datasets.prepare import prepare_dataset
from training.datasets.prepared import load_prepared
from training.datasets.source import source_named
from training.recipe import load_recipe

NORMALISATIONS = ("none", "unit", "layer", "batch")
LEARNING_RATES = (0.0003, 0.001, 0.003, 0.01)
DROPOUTS = (0.0, 0.5)
CLASSES = 10
OWN = "the recipe's own"
APART_WANTED = 0.005
"""How far from the best head's validation accuracy the recipe's own may be: half a standard error of 2,000 pictures."""
TEST_APART_WANTED = 0.03

Split = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Head:
    """One candidate."""

    normalisation: str
    learning_rate: float
    dropout: float
    start: str = "zeros"

    def __str__(self) -> str:
        dropped = f", dropout {self.dropout:g}" if self.dropout else ""
        begun = "" if self.start == "zeros" else f", from {self.start}"
        return f"{self.normalisation}, {self.learning_rate:g}{dropped}{begun}"


def candidates() -> list[Head]:
    """All that are tried: a grid, and one start that is not zeros for each normalisation."""
    grid = [Head(*values) for values in product(NORMALISATIONS, LEARNING_RATES, DROPOUTS)]
    return grid + [Head(normalisation, 0.001, 0.0, "glorot_uniform") for normalisation in NORMALISATIONS]


def build(head: Head, features: int) -> tuple[Any, Any]:
    """A head, features of shape (examples, features) → probabilities, and its optimizer."""
    import keras

    layers: dict[str, list[Any]] = {
        "none": [],
        "unit": [keras.layers.UnitNormalization()],
        "layer": [keras.layers.LayerNormalization(center=False, scale=False)],
        "batch": [keras.layers.BatchNormalization()],
    }
    model = keras.Sequential(
        [
            keras.Input((features,)),
            *([keras.layers.Dropout(head.dropout)] if head.dropout else []),
            *layers[head.normalisation],
            keras.layers.Dense(CLASSES, activation="softmax", kernel_initializer=head.start),
        ]
    )
    return model, keras.optimizers.Adam(head.learning_rate)


def build_own(backbone: str) -> tuple[Any, Any]:
    """The head and the optimizer as the recipe has them."""
    recipe = load_recipe(f"cifar10-{backbone}")
    return recipe.build_model(recipe.settings), recipe.build_optimizer(recipe.settings)


def fitted(head: Head | None, backbone: str, train: Split, seed: int, options: argparse.Namespace) -> Any:
    """A trained head; the recipe's own for None."""
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model, optimizer = build(head, train[0].shape[1]) if head else build_own(backbone)
    steps = -(-len(train[0]) // options.batch_size)
    loss = keras.losses.SparseCategoricalCrossentropy()
    model.compile(optimizer, loss, metrics=["accuracy"], steps_per_execution=steps)
    model.fit(*train, batch_size=options.batch_size, epochs=options.epochs, verbose=0)
    return model


def accuracy(model: Any, split: Split) -> float:
    """The share that a model sees right."""
    answers = np.argmax(np.asarray(model(split[0], training=False)), axis=1)  # (examples,)
    return float(np.mean(answers == split[1]))


def features_of(backbone: str, pictures: dict[str, Split], image_size: int, weights: str) -> dict[str, Split]:
    """A backbone's outputs for each split, as a run computes them."""
    from training.compiled import CompiledRecipe

    recipe = load_recipe(f"cifar10-{backbone}")
    compiled = CompiledRecipe(recipe, dict(recipe.settings) | {"image_size": image_size, "weights": weights})
    return {name: (compiled.features(x).astype(np.float32), y) for name, (x, y) in pictures.items()}


def given_data() -> Path | None:
    """Where data sets and weights are looked for."""
    return Path(harness.data_folder()) if harness.data_folder() else None


def load_pictures(options: argparse.Namespace, work: Path) -> dict[str, Split]:
    """The first pictures of each split of the prepared data set."""
    files = FolderFiles(work / "shared")
    source = source_named("cifar-10")
    data = cifar10_subset.ready_data(given_data(), work)
    facts = prepare_dataset(source, files, data_folder=data, cache_folder=work / "downloads")
    found = {}
    for split, count in (("train", options.train), ("val", options.val), ("test", options.test)):
        names = [f"x_{split}", f"y_{split}"]
        arrays = load_prepared(files, facts, names)
        found[split] = (arrays[names[0]][:count], arrays[names[1]][:count])
    return found


def try_heads(backbone: str, features: dict[str, Split], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Each head's validation accuracies, one a seed. The test split is not looked at."""
    heads: list[Head | None] = [None, *(candidates()[:: 12 if options.quick else 1])]
    found = []
    for head in heads:
        models = [fitted(head, backbone, features["train"], seed, options) for seed in range(1, options.seeds + 1)]
        right = [accuracy(model, features["val"]) for model in models]
        found.append({"backbone": backbone, "head": str(head) if head else OWN, "val_accuracy": right})
        print(f"{backbone}: {found[-1]['head']}: {np.mean(right):.4f}", flush=True)
    return found


def mean_of(tried: Sequence[dict[str, Any]], head: str, backbone: str | None = None) -> float:
    """A head's mean validation accuracy, over all seeds, and over the backbones where none is named."""
    values = [one["val_accuracy"] for one in tried if one["head"] == head and backbone in (None, one["backbone"])]
    return float(np.mean(values))


def chosen_head(tried: Sequence[dict[str, Any]]) -> Head:
    """The candidate with the best mean validation accuracy; of several, the first."""
    known = {one["head"] for one in tried}
    return max((head for head in candidates() if str(head) in known), key=lambda head: mean_of(tried, str(head)))


def report(result: harness.Result, options: argparse.Namespace) -> None:
    """Tables and goals."""
    tried, tests = result.raw["tried"], result.raw["test_accuracy"]
    best = str(chosen_head(tried))
    names = sorted({one["head"] for one in tried}, key=lambda name: -mean_of(tried, name))
    rows = [["head: normalisation, learning rate", "all", *options.backbones]]
    for name in names:
        rows.append([name, *(f"{mean_of(tried, name, which):.4f}" for which in (None, *options.backbones))])
    result.table(f"Validation accuracy, mean of {options.seeds} seeds", rows)
    rows = [["the chosen head", "validation accuracy", "test accuracy"]]
    for backbone in options.backbones:
        rows.append([f"{best}: {backbone}", f"{mean_of(tried, best, backbone):.4f}", f"{np.mean(tests[backbone]):.4f}"])
    result.table(f"{options.train} pictures at {options.image_size} pixels, {options.epochs} epochs", rows)
    own, most = mean_of(tried, OWN), mean_of(tried, best)
    wanted = f">= {most:.4f} - {APART_WANTED}, {best}"
    enough = None if options.quick else own >= most - APART_WANTED
    result.goal("validation accuracy of the recipe's own head", f"{own:.4f}", wanted, enough)
    apart = abs(float(np.mean([tests[backbone] for backbone in options.backbones])) - most)
    close = None if options.quick else apart <= TEST_APART_WANTED
    result.goal("test accuracy of the chosen head, from validation", f"{apart:.4f}", f"<= {TEST_APART_WANTED}", close)


def main() -> None:
    """Run it."""
    parser = harness.parser(__doc__)
    parser.add_argument("--backbones", nargs="+", default=["vgg19", "mobilenetv2"])
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--train", type=int, default=4_000, help="pictures to train on")
    parser.add_argument("--val", type=int, default=2_000, help="pictures to choose by")
    parser.add_argument("--test", type=int, default=2_000, help="pictures for the chosen head")
    parser.add_argument("--epochs", type=int, default=45)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    if options.quick:
        options.train, options.val, options.test, options.epochs, options.seeds = 256, 256, 256, 5, 1
        options.backbones = options.backbones[-1:]
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    result = harness.begin("head", options)
    result.raw = {"tried": [], "test_accuracy": {}, "extraction_s": {}}
    features = {}
    with tempfile.TemporaryDirectory(prefix="lambdafit-head-") as folder:
        work = Path(folder)
        pictures = load_pictures(options, work)
        for backbone in options.backbones:
            weights = cifar10_subset.ready_weights(backbone, given_data(), work)
            began = time.perf_counter()
            features[backbone] = features_of(backbone, pictures, options.image_size, weights)
            result.raw["extraction_s"][backbone] = round(time.perf_counter() - began, 1)
            print(f"{backbone}: features in {result.raw['extraction_s'][backbone]} s", flush=True)
    for backbone in options.backbones:
        result.raw["tried"] += try_heads(backbone, features[backbone], options)
    head = chosen_head(result.raw["tried"])
    for backbone in options.backbones:
        models = [
            fitted(head, backbone, features[backbone]["train"], seed + 1, options) for seed in range(options.seeds)
        ]
        result.raw["test_accuracy"][backbone] = [accuracy(model, features[backbone]["test"]) for model in models]
    report(result, options)
    result.finish(harness.output_folder(options))


if __name__ == "__main__":
    main()
