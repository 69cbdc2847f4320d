"""How good parameters are on some data, as sums that can be added over workers; and what the model sees there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from training.compiled import CompiledRecipe
from training.failures import recipe_code
from training.framework import tf
from training.parameters import Vector
from training.samples import Answers


class Evaluation(NamedTuple):
    """Sums over the examples given: examples, loss_sum (penalties included), and correct or absolute_error_sum.

    `answers` is None where the model does not tell one class of each example.
    """

    sums: dict[str, float]
    answers: Answers | None


def evaluate(
    compiled: CompiledRecipe,
    theta: Vector,
    constants: Mapping[str, Vector],
    x: Vector,
    y: Vector,
    batch_size: int | None = None,
) -> dict[str, float]:
    """The sums alone; see `examine`."""
    return examine(compiled, theta, constants, x, y, batch_size).sums


def examine(
    compiled: CompiledRecipe,
    theta: Vector,
    constants: Mapping[str, Vector],
    x: Vector,
    y: Vector,
    batch_size: int | None = None,
) -> Evaluation:
    """Sums and answers for the examples given, in one pass, in inference mode: dropout off, statistics as they are.

    Takes the model's variables over, so call it before a shard run starts.

    Args:
        theta: parameters of shape (parameters,).
        x, y: of shape (examples, …).
        batch_size: as the compiled recipe has it where None.
    Raises:
        ShapeMismatch: parameters or constants are not of this model.
        RecipeFailed: the recipe's code raised.
    """
    compiled.assign(theta, constants)
    x_tensor, y_tensor = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
    function = compiled.evaluate_function(x_tensor, y_tensor)
    with recipe_code(compiled.file, "evaluating"):
        batch = tf.constant(batch_size or compiled.evaluation_batch)
        sums, *seen = (part.numpy() for part in function(x_tensor, y_tensor, batch))
    loss_sum, score = sums.tolist()
    score_name = "correct" if compiled.recipe.task == "classification" else "absolute_error_sum"
    answers = Answers(*seen) if len(seen[0]) else None
    return Evaluation({"examples": float(len(x)), "loss_sum": loss_sum, score_name: score}, answers)
