"""The outer optimizer: one step a round, on one slice of the flat vector. NumPy only, in place.

Every operation is element by element, so cutting the vector into slices cannot change a bit.
"""

from __future__ import annotations

import math
from collections.abc import MutableMapping, Sequence

import numpy as np

from contracts.settings import OuterKind, OuterSettings
from training.vector_files import Vector

_BLOCK = 1 << 15
"""Values at a time: with the state, some 0.5 MB."""

_STATE: dict[OuterKind, tuple[str, ...]] = {
    "sgd": (),
    "momentum": ("momentum",),
    "nesterov": ("momentum",),
    "adam": ("first_moment", "second_moment"),
}


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
    for name in _STATE[settings.kind]:
        state.setdefault(name, np.zeros_like(parameters))
    for start in range(0, parameters.size, _BLOCK):  # what one step touches stays in the cache
        block = slice(start, start + _BLOCK)
        own = [state[name][block] for name in _STATE[settings.kind]]
        _to_step(gradient[block], own, settings, round_index)
        parameters[block] -= gradient[block]


def _to_step(gradient: Vector, state: Sequence[Vector], settings: OuterSettings, round_index: int) -> None:
    """Turns `gradient`, of shape (block,), into the step to subtract, and moves the state on."""
    rate, beta = settings.learning_rate, settings.momentum
    match settings.kind:
        case "sgd":
            gradient *= rate
        case "momentum":
            (momentum,) = state
            momentum *= beta
            momentum += gradient
            np.multiply(momentum, rate, out=gradient)
        case "nesterov":
            (momentum,) = state
            momentum *= beta
            momentum += gradient
            gradient += beta * momentum
            gradient *= rate
        case "adam":
            first, second = state
            first *= beta
            first += (1 - beta) * gradient
            second *= settings.beta_2
            second += (1 - settings.beta_2) * np.square(gradient)
            correction = math.sqrt(1 - settings.beta_2**round_index) / (1 - beta**round_index)
            np.sqrt(second, out=gradient)
            gradient += settings.epsilon
            np.divide(first, gradient, out=gradient)
            gradient *= rate * correction
