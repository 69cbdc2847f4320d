"""Half the bytes: the bits are ml_dtypes' own, what rounding takes comes back, a combine still checks everything."""

from __future__ import annotations

import io

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.errors import NotFinite, ShapeMismatch
from fakes.memory_files import MemoryFiles
from training.bfloat16 import from_bfloat16, round_with_feedback, to_bfloat16
from training.combine import TornUpdates, Update, average_slice
from training.vector_files import slice_bounds, write_vector

ANY_BITS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50)
EDGES = [0, 1 << 31, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 0xFFFFFFFF, 0x7F7FFFFF, 0x3F808000, 0x3F818000, 1]


@given(ANY_BITS)
@example(EDGES)
def test_rounding_is_that_of_ml_dtypes(bits: list[int]) -> None:
    values = np.array(bits, dtype=np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        expected = values.astype(ml_dtypes.bfloat16)
    ours = from_bfloat16(to_bfloat16(values))
    missing = np.isnan(values)
    assert np.isnan(ours[missing]).all()
    assert ours[~missing].tobytes() == expected.astype(np.float32)[~missing].tobytes()


def test_long_vectors_are_rounded_as_short_ones() -> None:
    values = np.random.default_rng(0).normal(size=100_001).astype(np.float32)
    parts = [to_bfloat16(values[index : index + 1000]) for index in range(0, values.size, 1000)]
    assert to_bfloat16(values).tobytes() == np.concatenate(parts).tobytes()


def test_what_rounding_takes_comes_back() -> None:
    """A change below half a step of the type is lost every time without feedback; with it the sum keeps up."""
    values = np.random.default_rng(1).normal(size=1000).astype(np.float32) * 1e-3 + 1
    error, total = None, np.zeros(1000)
    for _ in range(64):
        halves, error = round_with_feedback(values, error)
        total += from_bfloat16(halves)
    plain = 64 * from_bfloat16(to_bfloat16(values)).astype(np.float64)
    exact = 64 * values.astype(np.float64)
    assert np.abs(total - exact).max() < 1.01 * 2**-8, "what is missing is at most what one rounding takes"
    assert np.abs(plain - exact).max() > 0.1


def test_feedback_leaves_its_input_alone() -> None:
    values = np.full(10, 1.001, dtype=np.float32)
    round_with_feedback(values, to_bfloat16(values))
    assert (values == np.float32(1.001)).all()


def in_halves(files: MemoryFiles, vectors: list[np.ndarray], bounds: tuple[int, ...]) -> list[Update]:
    refs = [
        write_vector(files, f"u/{i}", to_bfloat16(vector), bounds, durable=False) for i, vector in enumerate(vectors)
    ]
    return [Update(i, ref, i + 1, f"nonce{i}") for i, ref in enumerate(refs)]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 200_000), st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**31))
def test_the_number_of_slices_does_not_change_a_bit(count: int, workers: int, slices: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = [random.normal(size=count).astype(np.float32) for _ in range(workers)]
    results = []
    for bounds in ((0, count), slice_bounds(count, slices)):
        files = MemoryFiles()
        handed_in = in_halves(files, vectors, bounds)
        parts = [average_slice(files, handed_in, bounds, index) for index in range(len(bounds) - 1)]
        results.append(np.concatenate(parts))
    assert results[0].tobytes() == results[1].tobytes() and results[0].dtype == np.float32
    exact = np.average([from_bfloat16(to_bfloat16(v)) for v in vectors], axis=0, weights=range(1, workers + 1))
    assert results[0] == pytest.approx(exact, rel=1e-5, abs=1e-6)


def test_files_have_half_the_bytes_and_open_without_us() -> None:
    files = MemoryFiles()
    values = np.random.default_rng(2).normal(size=1000).astype(np.float32)
    ref = write_vector(files, "v", to_bfloat16(values), (0, 1000), durable=False)
    assert ref.dtype == "bfloat16" and ref.bytes == 128 + 2_000
    read = np.load(io.BytesIO(files.contents["v"]), allow_pickle=False)
    assert read.tobytes() == values.astype(ml_dtypes.bfloat16).tobytes()


def test_a_torn_one_is_named() -> None:
    files = MemoryFiles()
    handed_in = in_halves(files, [np.ones(100)] * 3, (0, 100))
    files.contents["u/1"] = files.contents["u/1"][:-2] + b"\1\2"
    with pytest.raises(TornUpdates) as caught:
        average_slice(files, handed_in, (0, 100), 0)
    assert caught.value.voids == {1: "nonce1"}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38])
def test_what_is_not_finite_is_found(value: float) -> None:
    files = MemoryFiles()
    halves, _ = round_with_feedback(np.array([1.0, value], dtype=np.float32), None)
    ref = write_vector(files, "u", halves, (0, 2), durable=False)
    with pytest.raises(NotFinite, match="E201"):
        average_slice(files, [Update(0, ref, 1, "nonce")], (0, 2), 0)


def test_types_are_not_mixed() -> None:
    files = MemoryFiles()
    whole = Update(1, write_vector(files, "w", np.ones(10, dtype=np.float32), (0, 10), durable=False), 1, "nonce")
    with pytest.raises(ShapeMismatch, match=r"worker 1.*float32.*bfloat16"):
        average_slice(files, [*in_halves(files, [np.ones(10)], (0, 10)), whole], (0, 10), 0)
