"""The TensorFlow graphs: training steps, evaluation sums, predictions.

Data lie in memory as tensors; batches are cut out of them inside the graph, so that one call from Python does many
steps and the last, smaller batch needs no graph of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from contracts.errors import RecipeFailed
from training.framework import keras, tf

if TYPE_CHECKING:
    from training.compiled import CompiledRecipe


def train_graph(compiled: CompiledRecipe, x: tf.Tensor, y: tf.Tensor) -> Callable[..., Any]:
    """A compiled function that does consecutive steps.

    It takes (x, y, rows, starts, ends, stride): step i trains on the examples rows[starts[i]:ends[i]] of x and y.
    It returns losses of shape (steps,), and clock readings in seconds of shape (steps + 1,): one before each
    step whose index is a multiple of `stride`, one at the end, and zeros elsewhere.
    """
    index = tf.TensorSpec((None,), tf.int64)

    def train_steps(x: Any, y: Any, rows: Any, starts: Any, ends: Any, stride: Any) -> tuple[Any, Any]:
        steps = tf.size(starts)
        losses = tf.TensorArray(tf.float64, steps, element_shape=())
        stamps = tf.TensorArray(tf.float64, steps, element_shape=())

        def step(i: Any, losses: Any, stamps: Any) -> tuple[Any, Any, Any]:
            stamps = stamps.write(i, tf.cond(i % stride == 0, lambda: _clock(i), lambda: tf.zeros((), tf.float64)))
            batch = rows[starts[i] : ends[i]]  # (batch,)
            loss = _train_step(compiled, tf.gather(x, batch), tf.gather(y, batch))
            return i + 1, losses.write(i, tf.cast(loss, tf.float64)), stamps

        i, losses, stamps = tf.while_loop(
            lambda i, *_: i < steps, step, (tf.constant(0), losses, stamps), parallel_iterations=1
        )
        return losses.stack(), tf.concat([stamps.stack(), _clock(i)[None]], axis=0)

    return _compile(train_steps, [_spec(x), _spec(y), index, index, index, tf.TensorSpec((), tf.int32)])


def evaluate_graph(compiled: CompiledRecipe, x: tf.Tensor, y: tf.Tensor) -> Callable[..., Any]:
    """A compiled function (x, y, batch_size) → float64 sums over all examples of (loss, score).

    The score is the number of right answers, or for regression the sum of absolute errors.
    """

    def evaluate(x: Any, y: Any, batch_size: Any) -> Any:
        examples = tf.shape(x)[0]

        def batch(start: Any, sums: Any) -> tuple[Any, Any]:
            end = tf.minimum(start + batch_size, examples)
            labels = _labels(y[start:end])
            prediction = compiled.model(x[start:end], training=False)  # (batch, …)
            losses = _example_losses(compiled, labels, prediction)  # (batch,)
            penalty = _penalty(compiled, losses.dtype) * tf.cast(end - start, losses.dtype)
            score = _score(compiled, labels, prediction)
            return end, sums + tf.stack([tf.cast(tf.reduce_sum(losses) + penalty, tf.float64), score])

        zero = (tf.constant(0), tf.zeros((2,), tf.float64))
        return tf.while_loop(lambda start, _: start < examples, batch, zero, parallel_iterations=1)[1]

    return _compile(evaluate, [_spec(x), _spec(y), tf.TensorSpec((), tf.int32)])


def predict_graph(compiled: CompiledRecipe, x: tf.Tensor) -> Callable[..., Any]:
    """A compiled function x → the model's predictions, nothing random in them."""

    def predict(x: Any) -> Any:
        return compiled.model(x, training=False)

    return _compile(predict, [_spec(x)])


def check_captured_variables(compiled: CompiledRecipe, function: Any) -> None:
    """Refuse a model that keeps something where no checkpoint reaches it.

    Raises:
        RecipeFailed: the graph uses a variable that is neither the model's nor the optimizer's.
    """
    own = [*compiled.variables.all, *compiled.optimizer_variables.values(), *compiled.accumulators]
    known = {id(variable.value) for variable in own}
    for variable in function.graph.variables:
        if id(variable) not in known:
            received = f"the model uses the variable {variable.name!r}, which belongs to none of its layers"
            advice = "Keep it in a layer; give each keras.random call a keras.random.SeedGenerator that a layer holds."
            raise RecipeFailed(compiled.file, received, advice=advice)


def _train_step(compiled: CompiledRecipe, x: Any, y: Any) -> Any:
    """One batch: an optimizer step, or gradients added up. Returns the batch's loss, penalties included."""
    trainable = compiled.variables.trainable
    with tf.GradientTape() as tape:
        prediction = compiled.model(x, training=True)  # (batch, …)
        losses = _example_losses(compiled, _labels(y), prediction)  # (batch,)
        loss = tf.reduce_mean(losses) + _penalty(compiled, losses.dtype)
        scaled = loss if compiled.optimizer is None else compiled.optimizer.scale_loss(loss)
    gradients = tape.gradient(scaled, [variable.value for variable in trainable])
    if compiled.optimizer is not None:
        compiled.optimizer.apply(gradients, trainable)
        return loss
    for accumulator, gradient in zip(compiled.accumulators, gradients, strict=True):
        if gradient is not None:  # a variable that the loss does not depend on
            gradient = tf.convert_to_tensor(gradient)
            accumulator.assign_add(gradient * tf.cast(tf.shape(x)[0], gradient.dtype))
    return loss


def _example_losses(compiled: CompiledRecipe, y: Any, prediction: Any) -> Any:
    """Losses of shape (batch,): a Keras loss is asked for them before it reduces or changes their type."""
    loss = compiled.loss
    losses = tf.convert_to_tensor(
        loss.call(y, prediction) if isinstance(loss, keras.losses.Loss) else loss(y, prediction)
    )
    if losses.shape.rank == 0:
        raise RecipeFailed(compiled.file, "the loss is one number for a batch", "one for each example, shape (batch,)")
    return losses if losses.shape.rank == 1 else tf.reduce_mean(losses, axis=range(1, losses.shape.rank))


def _penalty(compiled: CompiledRecipe, dtype: Any) -> Any:
    """The layers' own losses, such as weight decay, of the call just made."""
    return tf.add_n([tf.zeros((), dtype), *(tf.cast(loss, dtype) for loss in compiled.model.losses)])


def _labels(y: Any) -> Any:
    """Whole numbers are stored small and used as int64, as Keras's losses expect them."""
    return tf.cast(y, tf.int64) if y.dtype.is_integer else y


def _score(compiled: CompiledRecipe, y: Any, prediction: Any) -> Any:
    """Right answers in the batch, or the sum of its absolute errors, as float64."""
    if compiled.recipe.task == "regression":
        errors = tf.abs(tf.cast(tf.reshape(y, tf.shape(prediction)), prediction.dtype) - prediction)
        flat = tf.reshape(errors, (tf.shape(errors)[0], -1))  # (batch, targets)
        return tf.cast(tf.reduce_sum(tf.reduce_mean(flat, axis=1)), tf.float64)
    if prediction.shape[-1] == 1:  # the probability of the second of two classes
        answer = tf.cast(prediction[..., 0] > 0.5, tf.int64)
        truth = tf.cast(y if y.shape.rank == 1 else y[..., 0], tf.int64)
    else:
        answer = tf.argmax(prediction, axis=-1)
        one_hot = y.shape.rank == prediction.shape.rank and y.shape[-1] == prediction.shape[-1]
        truth = tf.argmax(y, axis=-1) if one_hot else tf.cast(tf.reshape(y, tf.shape(answer)), tf.int64)
    right = tf.cast(tf.equal(answer, truth), tf.float64)  # (batch, …)
    return tf.reduce_sum(tf.reduce_mean(tf.reshape(right, (tf.shape(right)[0], -1)), axis=1))


def _clock(after: Any) -> Any:
    """The clock once `after` is known. TensorFlow's own time stamp is refused where kernels are deterministic."""
    with tf.control_dependencies([after]):
        stamp = tf.numpy_function(time.perf_counter, [], tf.float64, stateful=True)
    return tf.ensure_shape(stamp, ())


def _spec(tensor: tf.Tensor) -> tf.TensorSpec:
    return tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype)


def _compile(function: Callable[..., Any], signature: list[tf.TensorSpec]) -> Callable[..., Any]:
    """A graph traced at once and for all: a concrete function is never traced again."""
    compiled: Callable[..., Any] = tf.function(function, autograph=False, jit_compile=False).get_concrete_function(
        *signature
    )
    return compiled
