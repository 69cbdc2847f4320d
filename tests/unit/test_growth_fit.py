"""The lines that runs' times are fitted to: known ones are found again, and the written table says the same."""

from __future__ import annotations

import random
from typing import Any

import pytest

from benchmarks.growth_fit import fit, relative_errors
from benchmarks.growth_table import module, rounded
from runs.growth import Growth, RoundLine, Seen, SizeLine, StartLine, StepLine, TaskLine, ValidationLine
from runs.growth_measured import MEASURED

KNOWN = {"base_s": 0.02, "s_per_worker": 0.006, "s_per_mb": 0.0009}


def points(count: int, noise: float = 0.0) -> tuple[list[dict[str, float]], list[float]]:
    draw = random.Random(1)
    rows, seconds = [], []
    for _ in range(count):
        row = {"base_s": 1.0, "s_per_worker": draw.choice([1, 2, 4, 8, 16]), "s_per_mb": 10 ** draw.uniform(0, 3)}
        rows.append(row)
        seconds.append(sum(KNOWN[name] * value for name, value in row.items()) * (1 + noise * draw.uniform(-1, 1)))
    return rows, seconds


def test_known_coefficients_are_found_again() -> None:
    assert fit(*points(20)) == pytest.approx(KNOWN)


def test_noise_of_a_tenth_leaves_them_within_a_tenth() -> None:
    assert fit(*points(60, noise=0.1)) == pytest.approx(KNOWN, rel=0.1)


def test_small_points_count_as_much_as_large_ones() -> None:
    rows = [{"base_s": 1.0, "s_per_mb": size} for size in (0.0, 0.0, 0.0, 1_000_000.0)]
    assert fit(rows, [0.1, 0.1, 0.1, 1_000.0])["base_s"] == pytest.approx(0.1, rel=0.01)


def test_no_coefficient_is_below_0() -> None:
    rows = [{"base_s": 1.0, "s_per_mb": size} for size in (1.0, 2.0, 3.0)]
    assert fit(rows, [3.0, 2.0, 1.0]) == pytest.approx({"base_s": 66 / 49, "s_per_mb": 0.0})


def test_what_is_the_same_at_all_points_tells_nothing() -> None:
    rows = [{"base_s": 1.0, "s_per_mb": 5.0, "s_per_worker": workers} for workers in (1.0, 2.0, 4.0)]
    assert fit(rows, [3.0, 4.0, 6.0]) == pytest.approx({"base_s": 2.0, "s_per_mb": 0.0, "s_per_worker": 1.0})


def test_errors_are_relative_to_what_was_measured() -> None:
    assert relative_errors([110.0, 0.5], [100.0, 1.0]) == pytest.approx([0.1, 0.5])


def test_the_written_module_says_what_was_fitted() -> None:
    growth = Growth(
        date="2026-01-02",
        machine='a "fast" one, 2 cores',
        points=17,
        held_back=8,
        start=StartLine(3.123456, 0.0, 1.23456e-5),
        first_round=SizeLine(0.1, 0.2),
        round=RoundLine(*KNOWN.values()),
        step=StepLine(1e-4, 2.5e-9, 1.7e-8, 1.23456e-10),
        validation=ValidationLine(0.2, 0.003),
        finish=SizeLine(0.3, 0.04),
        task=TaskLine(0.004, 0.001),
        cold_s=2.5,
        build_s=0.1,
        errors={"time": Seen(0.1, 0.25), "bytes": Seen(0.0, 0.01)},
    )
    made: dict[str, Any] = {}
    exec(module(growth), made)  # noqa: S102
    assert made["MEASURED"] == rounded(growth)
    assert made["MEASURED"].start == StartLine(3.123, 0.0, 1.235e-05)
    assert max(map(len, module(growth).splitlines())) <= 120


def test_the_shipped_lines_never_fall() -> None:
    lines = (value for value in MEASURED if hasattr(value, "_fields"))
    assert all(coefficient >= 0 for line in lines for coefficient in line)
    assert MEASURED.speeds().read_bytes_per_s > 0
    assert MEASURED.step.at(2e7, 0, 8) > MEASURED.step.at(1e4, 0, 8) > 0
    assert MEASURED.step.at(1e6, 8e6, 8) >= MEASURED.step.at(1e6, 0, 8), "an optimizer's state takes time"
