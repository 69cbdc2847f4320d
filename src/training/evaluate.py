"""How good parameters are on some data, as sums that can be added over workers."""

from __future__ import annotations

from collections.abc import Mapping

from training.compiled import CompiledRecipe
from training.failures import recipe_code
from training.framework import tf
from training.parameters import Vector

BATCH_SIZE = 512


def evaluate(
    compiled: CompiledRecipe,
    theta: Vector,
    constants: Mapping[str, Vector],
    x: Vector,
    y: Vector,
    batch_size: int = BATCH_SIZE,
) -> dict[str, float]:
    """Sums over the examples given, in inference mode: dropout off, statistics as they are.

    Takes the model's variables over, so call it before a shard run starts.

    Args:
        theta: parameters of shape (parameters,).
        x, y: of shape (examples, …).
    Returns:
        examples, loss_sum (penalties included), and correct or, for regression, absolute_error_sum.
    Raises:
        ShapeMismatch: parameters or constants are not of this model.
        RecipeFailed: the recipe's code raised.
    """
    compiled.assign(theta, constants)
    x_tensor, y_tensor = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
    function = compiled.evaluate_function(x_tensor, y_tensor)
    with recipe_code(compiled.file, "evaluating"):
        loss_sum, score = function(x_tensor, y_tensor, tf.constant(batch_size)).numpy().tolist()
    score_name = "correct" if compiled.recipe.task == "classification" else "absolute_error_sum"
    return {"examples": float(len(x)), "loss_sum": loss_sum, score_name: score}
