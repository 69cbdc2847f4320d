"""A bound for `bench_fit.py`: how fast one core does the matrix products of training, and nothing else.

NumPy's (on one thread where OPENBLAS_NUM_THREADS=1 says so), of the shapes that a step of the recipe's dense layers
has: forwards, and backwards for the kernels and (but for the first layer) for what came in. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from training.framework import keras
from training.recipe import load_recipe


def kernel_shapes(recipe_name: str) -> list[tuple[int, int]]:
    """(inputs, units) of each dense layer, in order.

    Raises:
        SystemExit: the recipe's trainable layers are of other kinds, of which this says nothing.
    """
    recipe = load_recipe(recipe_name)
    layers = [layer for layer in recipe.build_model(dict(recipe.settings)).layers if layer.trainable_variables]
    if not layers or not all(isinstance(layer, keras.layers.Dense) for layer in layers):
        raise SystemExit(f"{recipe_name}: not all trainable layers are dense")
    return [tuple(layer.kernel.shape) for layer in layers]


def products_of(shapes: list[tuple[int, int]], batch_size: int) -> list[tuple[int, int, int]]:
    """(rows, inner, columns) of every matrix product of a step."""
    forwards = [(batch_size, inputs, units) for inputs, units in shapes]
    kernels = [(inputs, batch_size, units) for inputs, units in shapes]
    inputs = [(batch_size, units, inputs) for inputs, units in shapes[1:]]
    return forwards + kernels + inputs


def main() -> None:
    """Measure for some seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="fashion-mnist-mlp")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    shapes = products_of(kernel_shapes(options.recipe), options.batch_size)
    generator = np.random.default_rng(0)

    def filled(rows: int, columns: int) -> np.ndarray:
        return generator.standard_normal((rows, columns), dtype=np.float32)

    work = [(filled(m, k), filled(k, n), np.empty((m, n), np.float32)) for m, k, n in shapes]
    steps, began = 0, time.perf_counter()
    while (elapsed_s := time.perf_counter() - began) < options.seconds:
        for left, right, out in work:
            np.matmul(left, right, out=out)
        steps += 1
    operations = sum(2 * m * k * n for m, k, n in shapes)
    found = {"examples_per_s": steps * options.batch_size / elapsed_s, "gflops": steps * operations / elapsed_s / 1e9}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
