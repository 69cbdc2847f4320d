"""Percentiles over workers, means over steps and smoothing, against numpy and sums by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.views.bands import band, means, median, smoothed

NAN = np.nan


def test_percentiles_are_those_of_numpy_where_workers_are_missing() -> None:
    values = np.random.default_rng(1).normal(size=(7, 50))
    values[2, 30:] = NAN  # behind the others
    values[:3, 10] = NAN
    values[:6, 11] = NAN  # one alone
    found = band(values)
    low, middle, high = np.nanpercentile(values, [10, 50, 90], axis=0)
    np.testing.assert_allclose(found.low, low)
    np.testing.assert_allclose(found.median, middle)
    np.testing.assert_allclose(found.high, high)
    np.testing.assert_allclose(median(values), middle)
    assert found.known[[0, 10, 11, 40]].tolist() == [7, 4, 1, 6]


def test_where_no_worker_has_a_value_there_is_none() -> None:
    found = band(np.array([[1.0, NAN], [3.0, NAN]]))
    assert found.median[0] == 2.0
    assert np.isnan([found.low[1], found.median[1], found.high[1]]).all()
    assert found.known.tolist() == [2, 0]


def test_one_worker_is_its_own_band() -> None:
    values = np.array([[1.0, 2.0, NAN]], np.float32)
    for curve in band(values)[:3]:
        np.testing.assert_array_equal(curve, values[0])


def test_no_points_make_an_empty_band() -> None:
    found = band(np.empty((4, 0), np.float32))
    assert [len(part) for part in found] == [0, 0, 0, 0]


def test_means_weigh_examples_and_leave_out_what_is_unknown() -> None:
    values = np.array([[1.0, 3.0, 5.0], [2.0, NAN, NAN]])
    weights = np.array([[10, 30, 4], [8, 8, 0]])
    found = means(values, weights, np.array([0, 2]))
    np.testing.assert_allclose(found[0], [(10 * 1 + 30 * 3) / 40, 5.0])
    assert found[1][0] == 2.0
    assert np.isnan(found[1][1])
    assert means(values, weights, np.empty(0, np.int64)).shape == (2, 0)


@pytest.mark.parametrize("factor", [0.0, 0.1, 0.5, 0.9, 0.99, 0.999])
def test_smoothing_is_the_loop_that_everybody_writes(factor: float) -> None:
    values = np.random.default_rng(2).normal(2.0, 1.0, size=3_000)
    values[[0, 7, 8, 1_500]] = NAN
    expected, average, count = np.full(len(values), NAN), 0.0, 0
    for place, value in enumerate(values):
        if not np.isnan(value):
            average, count = factor * average + (1 - factor) * value, count + 1
            expected[place] = average / (1 - factor**count)
    np.testing.assert_allclose(smoothed(values, factor), expected, rtol=1e-9)


def test_smoothing_begins_at_the_first_value_and_keeps_a_constant() -> None:
    np.testing.assert_allclose(smoothed(np.full(2_000, 3.0), 0.98), 3.0)
    assert smoothed(np.array([5.0, 1.0]), 0.9)[0] == pytest.approx(5.0)
    assert len(smoothed(np.empty(0), 0.9)) == 0
