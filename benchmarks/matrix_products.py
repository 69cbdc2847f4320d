"""A bound for `bench_fit.py`: how fast one core does the matrix products of training, and nothing else.

TensorFlow's products, on one thread, of the shapes that a step of the recipe's dense layers has: forwards, and
backwards for the kernels and (but for the first layer) for what came in. Prints one JSON line: the examples of so many
steps in a second, and their gflops; `null` for a recipe with other layers, of which this says nothing.
"""

from __future__ import annotations

import argparse
import json
import time

from training.framework import keras, tf
from training.recipe import load_recipe

STEPS_A_CALL = 50


def kernel_shapes(recipe_name: str) -> list[tuple[int, int]]:
    """(inputs, units) of each dense layer, in order; none where trainable layers are of other kinds."""
    recipe = load_recipe(recipe_name)
    layers = [layer for layer in recipe.build_model(dict(recipe.settings)).layers if layer.trainable_variables]
    dense = all(isinstance(layer, keras.layers.Dense) for layer in layers)
    return [tuple(layer.kernel.shape) for layer in layers] if dense else []


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
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if not (shapes := kernel_shapes(options.recipe)):
        print(json.dumps(None))
        return
    products = products_of(shapes, options.batch_size)
    work = [(tf.Variable(tf.random.normal((m, k))), tf.Variable(tf.random.normal((k, n)))) for m, k, n in products]

    @tf.function(autograph=False)
    def steps() -> tf.Tensor:
        def step(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            # One value of each product is used, so that none is left out.
            return i + 1, total + tf.add_n([tf.matmul(left, right)[0, 0] for left, right in work])

        start = (tf.constant(0), tf.constant(0.0))
        return tf.while_loop(lambda i, _: i < STEPS_A_CALL, step, start, parallel_iterations=1)[1]

    steps()
    done, began = 0, time.perf_counter()
    while (elapsed_s := time.perf_counter() - began) < options.seconds:
        steps().numpy()
        done += STEPS_A_CALL
    operations = sum(2 * m * k * n for m, k, n in products)
    found = {"examples_per_s": done * options.batch_size / elapsed_s, "gflops": done * operations / elapsed_s / 1e9}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
