"""Which points of a curve are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.figures.sampling import thin, window

X = np.arange(10_000)


def test_a_window_holds_one_point_more_on_either_side() -> None:
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    assert window(x, 1.5, 2.5) == slice(1, 4)
    assert window(x, None, None) == slice(0, 5)
    assert window(x, None, 1.0) == slice(0, 3)
    assert window(x, 3.0, None) == slice(2, 5)


@pytest.mark.parametrize(("low", "high"), [(-5.0, -1.0), (9.0, 12.0), (3.0, 1.0)])
def test_a_window_beside_the_data_is_small_and_valid(low: float, high: float) -> None:
    seen = window(np.array([0.0, 1.0, 2.0, 3.0, 4.0]), low, high)
    assert 0 <= seen.start <= seen.stop <= 5
    assert seen.stop - seen.start <= 2


def test_a_window_of_nothing_is_empty() -> None:
    assert window(np.array([]), 0.0, 1.0) == slice(0, 0)


def test_few_points_all_stay() -> None:
    assert thin(X[:50], np.sin(X[:50]), 50).tolist() == list(range(50))


def test_extremes_first_and_last_stay() -> None:
    y = np.sin(X / 500)
    y[4321], y[7654] = 9.0, -9.0
    kept = thin(X, y, 200)
    assert len(kept) <= 202
    assert {0, 4321, 7654, 9_999} <= set(kept.tolist())


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32, np.uint8, np.bool_, np.float16])
def test_every_kind_of_number_is_taken(kind: type) -> None:
    kept = thin(X.astype(np.float32), (X % 2).astype(kind), 100)
    assert kept.dtype == np.int64 and len(kept) <= 102


def test_a_gap_stays_a_gap() -> None:
    y = np.sin(X / 500).astype(np.float32)
    y[3_000:3_500] = np.nan
    y[9_000:] = np.nan
    kept = thin(X, y, 100)
    assert {2_999, 3_000, 3_500, 8_999, 9_000, 9_999} <= set(kept.tolist())
    assert len(kept) <= 108


def test_many_gaps_do_not_keep_everything() -> None:
    y = np.where(X % 2 == 0, np.sin(X), np.nan)
    assert len(thin(X, y, 100)) <= 102 + 3 * 25


def test_nothing_known_leaves_nothing_but_ends() -> None:
    kept = thin(X, np.full(len(X), np.nan), 100)
    assert kept.tolist() == [0, 9_999]


def test_slices_of_arrays_are_taken() -> None:
    grid = np.arange(40_000, dtype=np.float32).reshape(10_000, 4)
    assert len(thin(X, grid[:, 1], 100)) <= 102


@given(st.lists(st.floats(-1e6, 1e6, width=32) | st.just(float("nan")), min_size=1, max_size=300), st.integers(4, 60))
def test_indices_rise_within_the_curve(values: list[float], count: int) -> None:
    y = np.array(values, dtype=np.float32)
    kept = thin(np.arange(len(y)), y, count)
    assert (np.diff(kept) > 0).all()
    assert kept[0] == 0 and kept[-1] == len(y) - 1
    assert len(kept) <= max(count, 4) + 2 + 3 * (count // 4)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="x has 3 points and y 2"):
        thin(X[:3], X[:2], 10)
    with pytest.raises(ValueError, match="at least 4"):
        thin(X, X, 3)
