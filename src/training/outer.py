"""The outer optimizer: one step a round, on one slice of the flat vector. NumPy only, in place.

Every operation is element by element, so cutting the vector into slices cannot change a bit.
"""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from typing import Any

import numpy as np

from contracts.settings import OuterSettings
from training.vector_files import Vector


def outer_step(
    parameters: Vector,
    gradient: Vector,
    state: MutableMapping[str, Vector],
    settings: OuterSettings,
    round_index: int,
) -> None:
    """Update `parameters` and `state` in place.

    `sgd`: θ ← θ − η g. `momentum`: m ← μ m + g; θ ← θ − η m. `nesterov`: the same m; θ ← θ − η (g + μ m), which
    on pseudo-gradients is the outer step of DiLoCo (arXiv 2311.08105). `adam`: Kingma and Ba (arXiv 1412.6980)
    with bias correction by `round_index`; β₁ is `settings.momentum`.

    Args:
        parameters: shape (slice,), changed in place.
        gradient: shape (slice,), used as scratch space afterwards.
        state: empty before the first round; vectors of shape (slice,), changed in place.
        round_index: 1-based.
    """
    rate = settings.learning_rate
    match settings.kind:
        case "sgd":
            gradient *= rate
        case "momentum" | "nesterov":
            momentum = _vector(state, "momentum", parameters)
            momentum *= settings.momentum
            momentum += gradient
            if settings.kind == "momentum":
                np.multiply(momentum, rate, out=gradient)
            else:
                gradient += settings.momentum * momentum
                gradient *= rate
        case "adam":
            _adam(parameters, gradient, state, settings, round_index)
    parameters -= gradient


def _adam(
    parameters: Vector, gradient: Vector, state: MutableMapping[str, Vector], settings: OuterSettings, round_index: int
) -> None:
    """Turns `gradient` into the step to subtract."""
    beta_1, beta_2 = settings.momentum, settings.beta_2
    first = _vector(state, "first_moment", parameters)
    second = _vector(state, "second_moment", parameters)
    first *= beta_1
    first += (1 - beta_1) * gradient
    second *= beta_2
    second += (1 - beta_2) * np.square(gradient)
    correction = math.sqrt(1 - beta_2**round_index) / (1 - beta_1**round_index)
    np.sqrt(second, out=gradient)
    gradient += settings.epsilon
    np.divide(first, gradient, out=gradient)
    gradient *= settings.learning_rate * correction


def _vector(state: MutableMapping[str, Any], name: str, like: Vector) -> Vector:
    if name not in state:
        state[name] = np.zeros_like(like)
    vector: Vector = state[name]
    return vector
