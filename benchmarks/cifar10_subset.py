"""CIFAR-10 and the weights of the backbones for benchmarks: where they are found, and a recipe on some of its pictures.

The recipe is `cifar10-vgg19` on the first 2,000 pictures to train on and the first 500 to test with, in the published
proportion of about a quarter.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from training.datasets.source import Arrays, source_named
from training.recipe import load_recipe

TRAIN_EXAMPLES, TEST_EXAMPLES = 2_000, 500

_VGG19 = load_recipe("cifar10-vgg19")
_CIFAR_10 = source_named(_VGG19.dataset)


def load_some(folder: Path) -> Arrays:
    """The first pictures of each part."""
    whole = _CIFAR_10.load(folder)
    return Arrays(
        whole.x_train[:TRAIN_EXAMPLES],
        whole.y_train[:TRAIN_EXAMPLES],
        whole.x_test[:TEST_EXAMPLES],
        whole.y_test[:TEST_EXAMPLES],
    )


recipe = replace(
    _VGG19,
    name="cifar10-subset-vgg19",
    dataset=replace(_CIFAR_10, load=load_some, train_examples=TRAIN_EXAMPLES, test_examples=TEST_EXAMPLES),
)


def ready_data(data_folder: Path | None, work_folder: Path) -> Path | None:
    """A data folder with CIFAR-10: the given one, or, where it holds the pictures as sheets, one with them unpacked.

    Returns:
        None where there is neither: lambdafit then downloads them.
    """
    if data_folder is None or not (data_folder / "cifar-10" / "unpack.py").is_file():
        return data_folder
    target = work_folder / "data" / "cifar-10"
    if not target.exists():
        script = data_folder / "cifar-10" / "unpack.py"
        subprocess.run([sys.executable, str(script), str(target)], check=True, capture_output=True)
    return target.parent


def ready_weights(name: str, data_folder: Path | None, work_folder: Path) -> str:
    """Keras weights of a backbone as `--set weights=…` takes them; empty: the published file.

    Args:
        name: `vgg19` or `mobilenetv2`; a script beside the data may make its weights.
    """
    script = data_folder / name / "to_keras.py" if data_folder is not None else None
    if script is None or not script.is_file():
        return ""
    target = work_folder / f"{name}.weights.h5"
    if not target.exists():
        subprocess.run([sys.executable, str(script), str(target)], check=True, capture_output=True)
    return str(target)
