"""One operation a variable, with the bits of Keras's own step on x86_64: another compiler may join multiply and add."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from training.framework import keras, tf
from training.fused_steps import use_fused_step
from training.numerics import pin_threads

FUSED = "ResourceApplyKerasMomentum"
SGD = keras.optimizers.SGD


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    pin_threads(1)


def trained(
    optimizer: Any, *, fused: bool, dtype: str = "float32", sparse: bool = False
) -> tuple[list[bytes], list[str]]:
    """What 30 steps make of a variable and of the optimizer's own, and the operations of a step."""
    random = np.random.default_rng(0)
    variable = keras.Variable(random.normal(size=(57, 33)), dtype=dtype, name="kernel")
    optimizer.build([variable])
    if fused:
        use_fused_step(optimizer)

    @tf.function(autograph=False)
    def step(values: Any) -> None:
        rows = tf.constant([3, 50, 3])
        gradient = tf.IndexedSlices(values[:3], rows, tf.constant([57, 33])) if sparse else values
        optimizer.apply([gradient], [variable])

    for _ in range(30):
        step(tf.constant(random.normal(size=(57, 33)), dtype))
    graph = step.get_concrete_function(tf.TensorSpec((57, 33), dtype)).graph
    operations = [operation.type for operation in graph.get_operations()]
    return [one.value.numpy().tobytes() for one in (variable, *optimizer.variables)], operations


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda **more: SGD(0.05, momentum=0.9, **more),
        lambda **more: SGD(0.05, momentum=0.3, weight_decay=0.01, clipnorm=1.0, use_ema=True, **more),
        lambda **more: SGD(keras.optimizers.schedules.CosineDecay(0.1, 20), momentum=0.9, clipvalue=0.5, **more),
    ],
)
def test_momentum_is_one_operation_with_the_bits_of_keras(make: Callable[..., Any], nesterov: bool, dtype: str) -> None:
    expected, plain = trained(make(nesterov=nesterov), fused=False, dtype=dtype)
    found, operations = trained(make(nesterov=nesterov), fused=True, dtype=dtype)
    assert operations.count(FUSED) == 1 and FUSED not in plain
    if platform.machine() in ("x86_64", "AMD64"):
        assert found == expected


class Halved(SGD):
    """A step of its own."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        super().update_step(gradient, variable, learning_rate / 2)


@pytest.mark.parametrize(
    ("make", "sparse"),
    [
        (lambda: SGD(0.05, momentum=0.9), True),
        (lambda: SGD(0.05), False),
        (lambda: SGD(0.05, momentum=0.9, gradient_accumulation_steps=3), False),
        (lambda: Halved(0.05, momentum=0.9), False),
        (lambda: keras.optimizers.Adam(0.01), False),
    ],
)
def test_anything_else_steps_as_keras_does(make: Callable[[], Any], sparse: bool) -> None:
    expected, plain = trained(make(), fused=False, sparse=sparse)
    found, operations = trained(make(), fused=True, sparse=sparse)
    assert found == expected
    assert operations == plain and FUSED not in operations
