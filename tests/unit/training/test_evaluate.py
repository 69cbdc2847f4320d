"""Evaluation sums: the figures of Keras itself, addable over parts, whatever came before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from small_recipes import EVERYTHING, FEATURES, compiled, data, results, run_through, shared, started, with_model

from contracts.errors import RecipeFailed, ShapeMismatch
from training.evaluate import evaluate, examine
from training.metrics import combine_sums


def test_the_figures_are_those_of_keras() -> None:
    recipe = compiled()
    run, theta = started(recipe)
    run_through(run)
    theta = theta + run.update(theta)
    x, y = data(50, seed=3)
    metrics = combine_sums([evaluate(recipe, theta, {}, x, y, batch_size=16)])
    recipe.model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    wanted = recipe.model.evaluate(x, y, batch_size=16, verbose=0, return_dict=True)
    assert metrics["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(wanted["accuracy"])


def test_parts_add_up_to_the_whole() -> None:
    recipe = shared()
    theta, constants, _ = recipe.initial(5)
    x, y = data(50)
    whole = combine_sums([evaluate(recipe, theta, constants, x, y)])
    parts = [evaluate(recipe, theta, constants, x[low:high], y[low:high]) for low, high in ((0, 20), (20, 50))]
    assert combine_sums(parts) == pytest.approx(whole, rel=1e-6)
    assert combine_sums([]) == {}


def test_evaluating_first_does_not_disturb_a_round() -> None:
    recipe = shared()
    run, theta = started(recipe)
    run_through(run)
    wanted = results(run, theta)
    evaluate(recipe, theta * 2, {}, *data())
    run, theta = started(recipe)
    run_through(run)
    assert results(run, theta) == wanted


def build_linear(settings: Any, outputs: int = 1, activation: str | None = None) -> keras.Model:
    return keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(outputs, activation=activation)])


def test_regression_has_a_mean_absolute_error() -> None:
    recipe = compiled(
        with_model(build_linear, task="regression", build_loss=lambda settings: keras.losses.MeanSquaredError())
    )
    theta = np.array([1, 0, 0, 0, 0, 0, 0.5], np.float32)
    x, _ = data(10)
    for y in (x[:, 0], x[:, :1]):
        metrics = combine_sums([evaluate(recipe, theta, {}, x, y)])
        assert metrics == pytest.approx({"loss": 0.25, "mean_absolute_error": 0.5}, rel=1e-5)


def test_two_classes_may_have_one_output() -> None:
    recipe = compiled(
        with_model(
            lambda settings: build_linear(settings, activation="sigmoid"),
            build_loss=lambda settings: keras.losses.BinaryCrossentropy(),
        )
    )
    theta = np.array([100, 0, 0, 0, 0, 0, 0], np.float32)
    x, _ = data(40)
    y = (x[:, 0] > 0).astype(np.uint8)
    y[:10] = 1 - y[:10]
    for labels in (y, y[:, None], y.astype(bool)):
        assert combine_sums([evaluate(recipe, theta, {}, x, labels)])["accuracy"] == 0.75


def test_labels_may_be_one_hot() -> None:
    recipe = compiled(replace(EVERYTHING, build_loss=lambda settings: keras.losses.CategoricalCrossentropy()))
    sparse = shared()
    theta, constants, _ = recipe.initial(5)
    x, y = data(40)
    one_hot = np.eye(3, dtype=np.float32)[y]
    wanted = evaluate(sparse, theta, constants, x, y)
    assert evaluate(recipe, theta, constants, x, one_hot) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("logits", [False, True])
def test_answers_are_those_of_the_model_in_one_pass(logits: bool) -> None:
    activation = None if logits else "softmax"
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    recipe = compiled(
        with_model(lambda settings: build_linear(settings, 3, activation), build_loss=lambda settings: loss)
    )
    theta, constants, _ = recipe.initial(5)
    x, y = data(50)
    sums, answers = examine(recipe, theta, constants, x, y, batch_size=16)
    assert answers is not None and answers.truths.tolist() == y.tolist()
    outputs = np.asarray(recipe.model(x), np.float64)
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True) if logits else outputs
    assert answers.predicted.tolist() == outputs.argmax(axis=1).tolist()
    assert answers.confidences == pytest.approx(shares.max(axis=1), rel=1e-5)
    assert sums["correct"] == (answers.predicted == answers.truths).sum()


def test_the_confidence_of_one_output_is_that_of_the_class_predicted() -> None:
    recipe = compiled(
        with_model(
            lambda settings: build_linear(settings, activation="sigmoid"),
            build_loss=lambda settings: keras.losses.BinaryCrossentropy(),
        )
    )
    theta, constants, _ = recipe.initial(5)
    x, y = data(20)
    labels = (y > 0).astype(np.uint8)[:, None]
    _, answers = examine(recipe, theta, constants, x, labels)
    second = np.asarray(recipe.model(x))[:, 0]
    assert answers is not None and answers.truths.tolist() == labels[:, 0].tolist()
    assert answers.predicted.tolist() == (second > 0.5).tolist()
    assert answers.confidences == pytest.approx(np.maximum(second, 1 - second), rel=1e-5)


def test_there_are_answers_only_where_there_is_one_class_an_example() -> None:
    linear = compiled(
        with_model(build_linear, task="regression", build_loss=lambda settings: keras.losses.MeanSquaredError())
    )
    x, y = data(4)
    assert examine(linear, np.zeros(7, np.float32), {}, x, x[:, :1]).answers is None

    def build_two(settings: Any) -> keras.Model:
        layers = [keras.layers.Reshape((2, FEATURES // 2)), keras.layers.Dense(3, activation="softmax")]
        return keras.Sequential([keras.Input((FEATURES,)), *layers])

    two = compiled(with_model(build_two))
    theta, constants, _ = two.initial(5)
    sums, answers = examine(two, theta, constants, x, np.stack([y, y], axis=1))
    assert answers is None and sums["correct"] * 2 in range(9)


def test_a_loss_may_be_a_function_of_each_example() -> None:
    def squares(y: Any, prediction: Any) -> Any:
        return (prediction[:, 0] - keras.ops.cast(y, "float32")) ** 2

    recipe = compiled(with_model(build_linear, task="regression", build_loss=lambda settings: squares))
    theta = np.array([0, 0, 0, 0, 0, 0, 2], np.float32)
    x, y = data(4)
    sums = evaluate(recipe, theta, {}, x, y * 0)
    assert sums == {"examples": 4, "loss_sum": 16, "absolute_error_sum": 8}
    total = compiled(with_model(build_linear, build_loss=lambda settings: lambda y, p: keras.ops.sum(p)))
    with pytest.raises(RecipeFailed, match="one number for a batch, expected one for each example"):
        evaluate(total, theta, {}, x, y)


def test_confident_softmax_keeps_its_gradient() -> None:
    recipe = compiled(with_model(lambda settings: build_linear(settings, 3, "softmax")))
    theta = np.zeros(FEATURES * 3 + 3, np.float32)
    theta[-3:] = [-500, 0, 0]  # the probability of class 0 rounds to zero
    x, y = data(4)
    assert evaluate(recipe, theta, {}, x, y * 0)["loss_sum"] == pytest.approx(4 * (500 + np.log(2)), rel=1e-4)


def test_other_parameters_are_refused() -> None:
    recipe = shared()
    theta, _, _ = recipe.initial(5)
    with pytest.raises(ShapeMismatch):
        evaluate(recipe, theta[1:], {}, *data())
    with pytest.raises(ShapeMismatch, match="constants: 'more' is unknown"):
        evaluate(recipe, theta, {"more": theta}, *data())
