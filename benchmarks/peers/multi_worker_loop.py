"""What one worker does under `tf.distribute.MultiWorkerMirroredStrategy`: the gradients are averaged in every step.

A custom loop, since Keras 3's own `fit` does not know the strategy: one call of a `tf.function` trains an epoch on
data that lie in memory as tensors, each worker on batches of its own. The first worker looks at the test set after
each epoch; the others wait meanwhile, and that time is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_fit import load
from training.recipe import load_recipe

EVALUATED_AT_ONCE = 1000


def train(options: Mapping[str, Any]) -> dict[str, Any]:
    """Train this worker's part of it; TF_CONFIG names the workers. Returns its marks, as `fit_runs` reads them.

    Args:
        options: recipe, epochs, batch_size (of one worker's step), seed, threads (in an operation), until_accuracy (of
            the test set: the last epoch is the first that is as good), learning_rate (None: the recipe's).
    """
    tf.config.threading.set_intra_op_parallelism_threads(options["threads"])
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    keras.utils.set_random_seed(options["seed"])
    recipe = load_recipe(options["recipe"])
    settings = dict(recipe.settings)
    if options["learning_rate"] is not None:
        settings["learning_rate"] = options["learning_rate"]
    data = load(str(recipe.dataset))
    with strategy.scope():
        model = recipe.build_model(settings)
        optimizer = recipe.build_optimizer(settings)
        optimizer.build(model.trainable_variables)
    _drop_out_apart(model, options["seed"], strategy)
    run_steps = _training(strategy, model, optimizer, recipe.build_loss(settings), data, options["batch_size"])
    right_share = _testing(model, data["x_test"], data["y_test"])
    return _epochs(strategy, run_steps, right_share, len(data["x_train"]), options)


def _drop_out_apart(model: Any, seed: int, strategy: tf.distribute.Strategy) -> None:
    """Give the workers masks of their own: the strategy has made all variables alike, these among them."""
    worker_index = strategy.cluster_resolver.task_id
    for number, layer in enumerate(model.layers):
        if hasattr(layer, "seed_generator"):
            own_seed = (seed * len(model.layers) + number) * strategy.num_replicas_in_sync + worker_index
            layer.seed_generator.state.assign(np.array([own_seed, 0], dtype=np.uint32))


def _epochs(
    strategy: tf.distribute.Strategy,
    run_steps: Callable[..., None],
    right_share: Callable[[], float],
    examples: int,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Train the epochs, and note when."""
    workers, batch_size = strategy.num_replicas_in_sync, options["batch_size"]
    worker_index = strategy.cluster_resolver.task_id
    order = np.random.default_rng(options["seed"])  # the same permutations in all workers
    steps = examples // (workers * batch_size)  # the rest of an epoch would be a smaller step: left out
    decide = tf.function(lambda vote: strategy.run(_added, (vote,)))
    epochs: list[dict[str, float]] = []
    fit_at, first_step_at, uncounted_s = time.time(), 0.0, 0.0
    for _ in range(options["epochs"]):
        began = time.perf_counter()
        rows = order.permutation(examples)[: steps * workers * batch_size].reshape(steps, workers, batch_size)
        own = tf.constant(rows[:, worker_index])  # (steps, batch)
        run_steps(own[:1])
        first_step_at = first_step_at or time.time()
        run_steps(own[1:])
        ended = time.perf_counter()
        accuracy = right_share() if worker_index == 0 else 0.0
        good_enough = decide(tf.constant(float(worker_index == 0 and accuracy >= options["until_accuracy"])))
        uncounted_s += time.perf_counter() - ended
        epochs.append(
            {
                "training_s": ended - began,
                "epoch_s": ended - began,
                "counted_at": time.time() - uncounted_s,
                "test_accuracy": accuracy,
            }
        )
        if good_enough:
            break
    seen = steps * workers * batch_size
    return {"fit_at": fit_at, "first_step_at": first_step_at, "examples": seen, "epochs": epochs}


def _added(vote: Any) -> Any:
    """The sum of all workers' votes."""
    own = tf.identity(vote)  # made here, it lies on this replica's device
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, own)


def _training(
    strategy: tf.distribute.Strategy, model: Any, optimizer: Any, loss: Any, data: Mapping[str, Any], batch_size: int
) -> Callable[..., None]:
    """A compiled function that takes row numbers of shape (steps, batch) and does these steps."""
    x, y = tf.constant(data["x_train"]), tf.constant(data["y_train"])
    variables = model.trainable_variables
    global_batch = batch_size * strategy.num_replicas_in_sync

    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            losses = loss.call(y, model(x, training=True))  # (batch,)
            share = tf.reduce_sum(losses) / global_batch
        gradients = tape.gradient(share, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)  # adds up the workers' gradients first

    @tf.function(input_signature=[tf.TensorSpec((None, batch_size), tf.int64)])
    def run_steps(rows: Any) -> None:
        for i in tf.range(tf.shape(rows)[0]):
            strategy.run(step, (tf.gather(x, rows[i]), tf.gather(y, rows[i])))

    return run_steps


def _testing(model: Any, x: np.ndarray, y: np.ndarray) -> Callable[[], float]:
    """A function that tells the share of right answers."""
    images = tf.constant(x)
    answers = tf.function(lambda part: tf.argmax(model(part, training=False), axis=-1))

    def right_share() -> float:
        parts = range(0, len(x), EVALUATED_AT_ONCE)
        found = np.concatenate([answers(images[low : low + EVALUATED_AT_ONCE]).numpy() for low in parts])
        return float(np.mean(found == y.reshape(-1)))

    return right_share
