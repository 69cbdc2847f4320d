"""Optimizer steps by one TensorFlow operation, where there is one that gives the bits of Keras's own (on x86_64).

Keras writes a step as several operations, each of which goes through the memory of a whole variable.
"""

from __future__ import annotations

from typing import Any

from training.framework import keras, tf


def use_fused_step(optimizer: Any) -> None:
    """Let a built Keras optimizer update a variable in one pass, if it is SGD with momentum; else change nothing.

    What Keras does around it stays: clipping, weight decay, schedules, moving averages, the count of steps.
    """
    # A subclass may mean something else by a step; where gradients are accumulated, TensorFlow rearranges Keras's.
    is_sgd = type(optimizer) is keras.optimizers.SGD
    if not is_sgd or not optimizer.momentum or optimizer.gradient_accumulation_steps:
        return
    keras_step = optimizer.update_step

    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
        """v ← μ v − η g; θ ← θ + v, or with Nesterov θ ← θ + μ v − η g. Keras gives TensorFlow's variable."""
        if isinstance(gradient, tf.IndexedSlices):
            keras_step(gradient, variable, learning_rate)
            return
        velocity = optimizer.momentums[optimizer._get_variable_index(variable)]
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=velocity.value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=tf.cast(optimizer.momentum, variable.dtype),
            use_nesterov=optimizer.nesterov,
        )

    optimizer.update_step = update_step
