"""The outer optimizers do what their papers say, element by element."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.settings import OuterKind, OuterSettings
from training.outer import outer_step

KINDS: list[OuterKind] = ["sgd", "momentum", "nesterov", "adam"]


def steps(outer: OuterSettings, gradients: list[float], start: float = 1.0) -> list[float]:
    parameters = np.array([start])
    state: dict[str, np.ndarray] = {}
    values = []
    for round_index, gradient in enumerate(gradients, start=1):
        outer_step(parameters, np.array([gradient]), state, outer, round_index)
        values.append(float(parameters[0]))
    return values


def test_sgd_with_rate_one_is_plain_averaging() -> None:
    assert steps(OuterSettings(kind="sgd", learning_rate=1.0), [-0.25], start=2.0) == [2.25]


def test_momentum_adds_up() -> None:
    outer = OuterSettings(kind="momentum", learning_rate=0.5, momentum=0.5)
    assert steps(outer, [1.0, 1.0]) == [0.5, 0.5 - 0.5 * 1.5]


def test_nesterov_looks_ahead() -> None:
    outer = OuterSettings(kind="nesterov", learning_rate=0.5, momentum=0.5)
    # m₁ = 1, step 0.5 (1 + 0.5·1) = 0.75;  m₂ = 1.5, step 0.5 (1 + 0.5·1.5) = 0.875
    assert steps(outer, [1.0, 1.0]) == [0.25, -0.625]


def test_adams_first_step_is_the_rate() -> None:
    outer = OuterSettings(kind="adam", learning_rate=0.1, momentum=0.9, epsilon=1e-12)
    assert steps(outer, [123.0])[0] == pytest.approx(0.9)


def test_adam_follows_its_definition() -> None:
    outer = OuterSettings(kind="adam", learning_rate=0.1, momentum=0.9, beta_2=0.99, epsilon=1e-8)
    m = v = 0.0
    theta = 1.0
    expected = []
    for t, g in enumerate([0.3, -0.2, 0.1], start=1):
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        rate = 0.1 * np.sqrt(1 - 0.99**t) / (1 - 0.9**t)
        theta -= rate * m / (np.sqrt(v) + 1e-8)
        expected.append(theta)
    assert steps(outer, [0.3, -0.2, 0.1]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_slicing_does_not_change_a_bit(kind: OuterKind) -> None:
    random = np.random.default_rng(0)
    outer = OuterSettings(kind=kind)
    whole, cut = random.normal(size=101).astype(np.float32), np.empty(101, dtype=np.float32)
    cut[:] = whole
    whole_state: dict[str, np.ndarray] = {}
    states: list[dict[str, np.ndarray]] = [{}, {}, {}]
    for round_index in range(1, 6):
        gradient = random.normal(size=101).astype(np.float32)
        for state, low, high in zip(states, (0, 7, 60), (7, 60, 101), strict=True):
            outer_step(cut[low:high], gradient[low:high].copy(), state, outer, round_index)
        outer_step(whole, gradient, whole_state, outer, round_index)
    assert whole.dtype == np.float32
    assert whole.tobytes() == cut.tobytes()
