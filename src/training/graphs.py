"""The TensorFlow graphs: training steps, evaluation sums, predictions.

Data lie in memory as tensors; batches are cut out of them inside the graph, so that one call from Python does many
steps and the last, smaller batch needs no graph of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from contracts.errors import RecipeFailed
from training.backbones import FEATURES_BATCH
from training.framework import keras, tf

if TYPE_CHECKING:
    from training.compiled import CompiledRecipe


def train_graph(compiled: CompiledRecipe, x: tf.Tensor, y: tf.Tensor) -> Callable[..., Any]:
    """A compiled function that does consecutive steps.

    It takes (x, y, rows, starts, ends, stride): step i trains on the examples rows[starts[i]:ends[i]] of x and y, and
    the steps follow each other without a gap. It returns losses of shape (steps,); for each example how much of the
    prediction was right, 0 … 1, of shape (examples,), or nothing for regression; and clock readings in seconds, one
    before each step whose index is a multiple of `stride` and one at the end.
    """
    index = tf.TensorSpec((None,), tf.int64)

    def train_steps(x: Any, y: Any, rows: Any, starts: Any, ends: Any, stride: Any) -> tuple[Any, Any, Any]:
        steps = tf.size(starts)
        losses = tf.TensorArray(tf.float64, steps, element_shape=())
        stamps = tf.TensorArray(tf.float64, (steps + stride - 1) // stride, element_shape=())
        # Predictions are judged after the last step, all at once: each operation in a step costs 1 % of a small one.
        answers = [] if compiled.recipe.task == "regression" else [_pieces(tf.int64, steps)]
        output_shape: list[Any] = []

        def step(i: Any, losses: Any, *answers: Any) -> tuple[Any, ...]:
            batch = rows[starts[i] : ends[i]]  # (batch,)
            loss, prediction = _train_step(compiled, tf.gather(x, batch), tf.gather(y, batch))
            output_shape.append(prediction.shape)
            answers = tuple(array.write(i, _flat_answers(_before_softmax(prediction))) for array in answers)
            return i + 1, losses.write(i, tf.cast(loss, tf.float64)), *answers

        def group(i: Any, stamps: Any, *others: Any) -> tuple[Any, ...]:
            stamps = stamps.write(i // stride, _clock(i))
            end = tf.minimum(i + stride, steps)
            i, *others = tf.while_loop(lambda i, *_: i < end, step, (i, *others), parallel_iterations=1)
            return i, stamps, *others

        i, stamps, losses, *answers = tf.while_loop(
            lambda i, *_: i < steps, group, (tf.constant(0), stamps, losses, *answers), parallel_iterations=1
        )
        seen = tf.gather(y, rows[tf.reduce_min(starts) : tf.reduce_max(ends)])  # (examples, …)
        right = [_right(array.concat(), _labels(seen), output_shape[0]) for array in answers]
        stamps = tf.concat([stamps.stack(), _clock(i)[None]], axis=0)
        return losses.stack(), right[0] if right else tf.zeros((0,), tf.float64), stamps

    return _compile(train_steps, [_spec(x), _spec(y), index, index, index, tf.TensorSpec((), tf.int32)])


def evaluate_graph(compiled: CompiledRecipe, x: tf.Tensor, y: tf.Tensor) -> Callable[..., Any]:
    """A compiled function (x, y, batch_size) → sums, truths, predicted, confidences.

    The sums are float64 over all examples of (loss, score), the score being the number of right answers, or for
    regression the sum of absolute errors. The others have an entry for each example: its class, the one predicted, and
    the probability that the model gives it. They are empty where there is not one class an example.
    """

    def evaluate(x: Any, y: Any, batch_size: Any) -> tuple[Any, Any, Any, Any]:
        examples = tf.shape(x)[0]
        batches = (examples + batch_size - 1) // batch_size
        output_shape: list[Any] = []

        def batch(i: Any, sums: Any, answers: Any, confidences: Any) -> tuple[Any, ...]:
            start = i * batch_size
            end = tf.minimum(start + batch_size, examples)
            labels = _labels(y[start:end])
            prediction = compiled.head(compiled.before_head(x[start:end]), training=False)  # (batch, …)
            output_shape.append(prediction.shape)
            losses = _example_losses(compiled, labels, prediction)  # (batch,)
            penalty = _penalty(compiled, losses.dtype) * tf.cast(end - start, losses.dtype)
            score = _score(compiled, labels, prediction)
            if _is_one_class(compiled, prediction.shape):
                answers = answers.write(i, _flat_answers(prediction))
                confidences = confidences.write(i, _confidences(compiled, prediction))
            sums += tf.stack([tf.cast(tf.reduce_sum(losses) + penalty, tf.float64), score])
            return i + 1, sums, answers, confidences

        start = (tf.constant(0), tf.zeros((2,), tf.float64), _pieces(tf.int64, batches), _pieces(tf.float32, batches))
        _, sums, answers, confidences = tf.while_loop(lambda i, *_: i < batches, batch, start, parallel_iterations=1)
        if not _is_one_class(compiled, output_shape[0]):
            return sums, tf.zeros((0,), tf.int64), tf.zeros((0,), tf.int64), tf.zeros((0,), tf.float32)
        return sums, _truths(_labels(y), output_shape[0]), answers.concat(), confidences.concat()

    return _compile(evaluate, [_spec(x), _spec(y), tf.TensorSpec((), tf.int32)])


def predict_graph(compiled: CompiledRecipe, x: tf.Tensor) -> Callable[..., Any]:
    """A compiled function, raw inputs → predictions, nothing random in them."""
    whole = compiled.whole

    def predict(x: Any) -> Any:
        return whole(x, training=False)

    return _compile(predict, [_spec(x)])


def features_graph(compiled: CompiledRecipe, x: tf.Tensor) -> Callable[..., Any]:
    """A compiled function, FEATURES_BATCH raw inputs → float32 features of shape (FEATURES_BATCH, features)."""
    backbone = compiled.backbone

    def features(x: Any) -> Any:
        return tf.cast(backbone(x, training=False), tf.float32)

    return _compile(features, [tf.TensorSpec((FEATURES_BATCH, *x.shape[1:]), x.dtype)])


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


def _train_step(compiled: CompiledRecipe, x: Any, y: Any) -> tuple[Any, Any]:
    """One batch: an optimizer step, or gradients added up.

    Returns:
        the batch's loss, penalties included, and the predictions that it is of.
    """
    trainable = compiled.variables.trainable
    given = compiled.before_head(x)  # what is frozen needs no gradients
    with tf.GradientTape() as tape:
        prediction = compiled.head(given, training=True)  # (batch, …)
        losses = _example_losses(compiled, _labels(y), prediction)  # (batch,)
        loss = tf.reduce_mean(losses) + _penalty(compiled, losses.dtype)
        scaled = loss if compiled.optimizer is None else compiled.optimizer.scale_loss(loss)
    gradients = tape.gradient(scaled, [variable.value for variable in trainable])
    if compiled.optimizer is not None:
        compiled.optimizer.apply(gradients, trainable)
        return loss, prediction
    for accumulator, gradient in zip(compiled.accumulators, gradients, strict=True):
        if gradient is not None:  # a variable that the loss does not depend on
            gradient = tf.convert_to_tensor(gradient)
            accumulator.assign_add(gradient * tf.cast(tf.shape(x)[0], gradient.dtype))
    return loss, prediction


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
    return tf.add_n([tf.zeros((), dtype), *(tf.cast(loss, dtype) for loss in compiled.head.losses)])


def _labels(y: Any) -> Any:
    """Whole numbers are stored small and used as int64, as Keras's losses expect them."""
    return tf.cast(y, tf.int64) if y.dtype.is_integer else y


def _score(compiled: CompiledRecipe, y: Any, prediction: Any) -> Any:
    """Right answers in the batch, or the sum of its absolute errors, as float64."""
    if compiled.recipe.task == "regression":
        errors = tf.abs(tf.cast(tf.reshape(y, tf.shape(prediction)), prediction.dtype) - prediction)
        flat = tf.reshape(errors, (tf.shape(errors)[0], -1))  # (batch, targets)
        return tf.cast(tf.reduce_sum(tf.reduce_mean(flat, axis=1)), tf.float64)
    return tf.reduce_sum(_right(_flat_answers(prediction), y, prediction.shape))


def _flat_answers(prediction: Any) -> Any:
    """The classes predicted, int64 of shape (batch × positions,): most models give one position an example."""
    if prediction.shape[-1] == 1:  # the probability of the second of two classes
        answers = tf.cast(prediction[..., 0] > 0.5, tf.int64)
    else:
        answers = tf.argmax(prediction, axis=-1)  # (batch, …)
    return answers if answers.shape.rank == 1 else tf.reshape(answers, (-1,))


def _truths(y: Any, output_shape: Any) -> Any:
    """The classes that are true, int64 of shape (examples × positions,)."""
    one_hot = output_shape[-1] != 1 and y.shape.rank == output_shape.rank and y.shape[-1] == output_shape[-1]
    return tf.reshape(tf.argmax(y, axis=-1) if one_hot else tf.cast(y, tf.int64), (-1,))


def _right(answers: Any, y: Any, output_shape: Any) -> Any:
    """The right share of each example's answers, float64 of shape (examples,)."""
    right = tf.cast(tf.equal(answers, _truths(y, output_shape)), tf.float64)
    return right if output_shape.rank == 2 else tf.reduce_mean(tf.reshape(right, (tf.shape(y)[0], -1)), axis=1)


def _before_softmax(prediction: Any) -> Any:
    """The same order of classes, without making a step compute the softmax, which its loss does not need."""
    return prediction.op.inputs[0] if prediction.op.type == "Softmax" else prediction


def _is_one_class(compiled: CompiledRecipe, output_shape: Any) -> bool:
    """Whether the model tells one class of each example."""
    return bool(compiled.recipe.task == "classification" and output_shape.rank == 2)


def _confidences(compiled: CompiledRecipe, prediction: Any) -> Any:
    """The probability of the class predicted, float32 of shape (batch,)."""
    prediction = tf.cast(prediction, tf.float32)  # (batch, classes)
    wants_logits = getattr(compiled.loss, "from_logits", False)
    if prediction.shape[-1] == 1:
        second = tf.sigmoid(prediction[:, 0]) if wants_logits else prediction[:, 0]
        return tf.where(prediction[:, 0] > 0.5, second, 1 - second)
    return tf.reduce_max(tf.nn.softmax(prediction) if wants_logits else prediction, axis=-1)


def _pieces(dtype: Any, count: Any) -> Any:
    """A tensor array for vectors of any lengths."""
    return tf.TensorArray(dtype, count, element_shape=(None,), infer_shape=False)


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
