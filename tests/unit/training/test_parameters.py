"""Every variable of a model in exactly one class; the flat vector loses no bit."""

from __future__ import annotations

from typing import Any

import keras
import msgspec
import numpy as np
import pytest
from small_recipes import FEATURES, compiled, with_model

from contracts.errors import RecipeFailed, ShapeMismatch
from training.derived_seeds import generator_state
from training.parameters import Layout, ModelVariables


class Counter(keras.layers.Layer):
    """Holds a whole number and a boolean, as some preprocessing layers do."""

    def build(self, shape: Any) -> None:
        self.count = self.add_weight(shape=(), dtype="int32", trainable=False, initializer="zeros", name="count")
        self.seen = self.add_weight(shape=(2,), dtype="bool", trainable=False, initializer="zeros", name="seen")

    def call(self, x: Any) -> Any:
        return x


def build(settings: Any = None) -> keras.Model:
    frozen = keras.Sequential(
        [keras.Input((FEATURES,)), keras.layers.Dense(4), keras.layers.BatchNormalization()], name="backbone"
    )
    frozen.trainable = False
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            frozen,
            Counter(),
            keras.layers.Dense(5),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.fixture(scope="module")
def variables() -> ModelVariables:
    return compiled(with_model(build)).variables


def test_each_variable_has_one_class(variables: ModelVariables) -> None:
    def last_parts(chosen: list[Any]) -> list[str]:
        return [name.split("/", 1)[1] for name in variables.named(chosen)]

    trainable = len(variables.trainable)
    assert last_parts(variables.vector[:trainable]) == [
        "dense_1/kernel",
        "dense_1/bias",
        "batch_normalization_1/gamma",
        "batch_normalization_1/beta",
        "dense_2/kernel",
        "dense_2/bias",
    ]
    moving = ["batch_normalization_1/moving_mean", "batch_normalization_1/moving_variance"]
    assert last_parts(variables.vector[trainable:]) == moving
    assert len(variables.constants) == 6
    assert last_parts(variables.others) == ["counter/count", "counter/seen"]
    assert len(variables.seeds) == 1
    assert len(set(variables.names)) == len(variables.names)


def test_the_layout_is_dense_and_survives_json(variables: ModelVariables) -> None:
    layout = variables.layout
    assert layout.trainable_count == (4 * 5 + 5) + 2 * 5 + (5 * 3 + 3)
    assert layout.parameter_count == layout.trainable_count + 2 * 5
    ends = [slot.offset + slot.size for slot in layout.tensors]
    assert [slot.offset for slot in layout.tensors] == [0, *ends[:-1]]
    assert ends[-1] == layout.parameter_count
    assert msgspec.json.decode(msgspec.json.encode(layout), type=Layout) == layout


def test_what_is_assigned_comes_back_to_the_bit(variables: ModelVariables) -> None:
    vector = np.random.default_rng(0).normal(size=variables.layout.parameter_count).astype(np.float32)
    vector[:3] = [np.float32(1e-45), -0.0, np.finfo(np.float32).max]
    variables.assign(vector)
    assert variables.flatten().tobytes() == vector.tobytes()
    kernel = variables.layout.split(vector)[variables.layout.tensors[0].name]
    assert (variables.trainable[0].numpy() == kernel).all()


def test_other_vectors_are_refused(variables: ModelVariables) -> None:
    count = variables.layout.parameter_count
    with pytest.raises(ShapeMismatch, match=rf"shape is \({count + 1},\), expected \({count},\)"):
        variables.assign(np.zeros(count + 1, np.float32))
    with pytest.raises(ShapeMismatch, match="type is float64, expected float32"):
        variables.assign(np.zeros(count, np.float64))


def test_a_changed_model_is_named_by_its_first_difference(variables: ModelVariables) -> None:
    def wider(settings: Any) -> keras.Model:
        layers = [keras.layers.Dense(7), keras.layers.Dense(3, activation="softmax")]
        return keras.Sequential([keras.Input((FEATURES,)), *layers])

    with pytest.raises(ShapeMismatch, match="'sequential/dense/kernel'"):
        compiled(with_model(wider)).layout.check_same(variables.layout)


def test_narrow_and_wide_floats_share_one_vector() -> None:
    def mixed(settings: Any) -> keras.Model:
        layers = [
            keras.layers.Dense(2, dtype="float16"),
            keras.layers.Dense(2, dtype="bfloat16"),
            keras.layers.Dense(3, dtype="float64"),
        ]
        return keras.Sequential([keras.Input((FEATURES,)), *layers])

    variables = compiled(with_model(mixed)).variables
    assert variables.layout.dtype == "float64"
    before = variables.flatten()
    variables.assign(before)
    assert variables.flatten().tobytes() == before.tobytes()


def test_a_model_with_nothing_to_train_is_refused() -> None:
    def frozen(settings: Any) -> keras.Model:
        model = build()
        model.trainable = False
        return model

    with pytest.raises(RecipeFailed, match="no trainable variables"):
        compiled(with_model(frozen))


def test_seeds_differ_in_each_coordinate() -> None:
    states = {
        tuple(generator_state(seed, round_index, worker, variable))
        for seed in (0, 2**63 - 1)
        for round_index in (1, 2)
        for worker in (0, 1)
        for variable in (0, 1)
    }
    assert len(states) == 16
    assert all(0 <= word < 2**30 for state in states for word in state)
    assert generator_state(3, 1, 0, 0).tolist() == generator_state(3, 1, 0, 0).tolist()
