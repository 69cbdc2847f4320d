"""Combining reads exactly the reported bytes, in worker order, and says which are torn."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import NoExamples, NotFinite, ShapeMismatch, TornFile
from fakes.memory_files import MemoryFiles
from training.combine import BLOCK_BYTES, TornUpdates, Update, average_slice, mean_weights
from training.vector_files import (
    npy_header,
    read_tensors,
    read_vector,
    slice_bounds,
    write_tensors,
    write_vector,
)


def updates(
    files: MemoryFiles, vectors: list[np.ndarray], bounds: tuple[int, ...], examples: list[int] | None = None
) -> list[Update]:
    counts = examples or [1] * len(vectors)
    refs = [write_vector(files, f"u/{i}", vector, bounds, durable=False) for i, vector in enumerate(vectors)]
    return [Update(i, ref, n, f"nonce{i}") for i, (ref, n) in enumerate(zip(refs, counts, strict=True))]


def test_the_mean_is_weighted_by_examples() -> None:
    files = MemoryFiles()
    handed_in = updates(files, [np.array([1.0, 2.0]), np.array([5.0, 6.0])], (0, 2), [3, 1])
    assert average_slice(files, handed_in, (0, 2), 0).tolist() == [2.0, 3.0]


def test_four_ranks_with_their_own_share_sum_to_the_whole() -> None:
    files = MemoryFiles()
    handed_in = updates(files, [np.full(5, value) for value in (1.0, 2.0, 3.0, 4.0)], (0, 2, 5))
    both = [average_slice(files, handed_in, (0, 2, 5), index) for index in (0, 1)]
    assert (4 * np.concatenate(both)).tolist() == [10.0] * 5


@given(st.integers(1, 200_000), st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**31))
def test_the_number_of_slices_does_not_change_a_bit(count: int, workers: int, slices: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = [random.normal(size=count).astype(np.float32) for _ in range(workers)]
    examples = [int(n) for n in random.integers(1, 100, workers)]
    results = []
    for bounds in ((0, count), slice_bounds(count, slices)):
        files = MemoryFiles()
        handed_in = updates(files, vectors, bounds, examples)
        parts = [average_slice(files, handed_in, bounds, index) for index in range(len(bounds) - 1)]
        results.append(np.concatenate(parts).tobytes())
    assert results[0] == results[1]


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:-4] + b"\1\2\3\4", lambda b: b""])
def test_torn_updates_are_all_named(damage: object) -> None:
    files = MemoryFiles()
    handed_in = updates(files, [np.ones(100, dtype=np.float32)] * 3, (0, 100))
    for worker in (0, 2):
        files.contents[f"u/{worker}"] = damage(files.contents[f"u/{worker}"])  # type: ignore[operator]
    with pytest.raises(TornUpdates) as caught:
        average_slice(files, handed_in, (0, 100), 0)
    assert caught.value.voids == {0: "nonce0", 2: "nonce2"}


def test_a_slice_reads_only_its_own_part() -> None:
    files = MemoryFiles()
    handed_in = updates(files, [np.ones(100, dtype=np.float32)], (0, 50, 100))
    content = bytearray(files.contents["u/0"])
    content[-1] ^= 255
    files.contents["u/0"] = bytes(content)
    assert average_slice(files, handed_in, (0, 50, 100), 0).sum() == 50
    with pytest.raises(TornUpdates):
        average_slice(files, handed_in, (0, 50, 100), 1)


@pytest.mark.parametrize("examples", [[5, 5, 5], [5, 5, 4], [1, 7, 7], [0, 3, 1], [2, 1, 0]])
def test_weights_sum_to_the_mean(examples: list[int]) -> None:
    weights, scale = mean_weights(examples)
    shares = [count / sum(examples) for count in examples]
    assert [weight * scale for weight in weights] == pytest.approx(shares)
    usual = max(set(examples), key=examples.count)
    assert all(weight == 1 for weight, count in zip(weights, examples, strict=True) if count == usual) or not usual


def test_updates_larger_than_a_block_are_summed_in_worker_order() -> None:
    files, count = MemoryFiles(), 3 * BLOCK_BYTES // 4 + 17
    random = np.random.default_rng(5)
    vectors = [(random.normal(size=count) * 10.0**power).astype(np.float32) for power in (0, 7, 0, 7)]
    mean = average_slice(files, updates(files, vectors, (0, count)), (0, count), 0)
    expected = ((vectors[0] + vectors[1]) + vectors[2]) + vectors[3]
    assert mean.tobytes() == (expected * np.float32(0.25)).tobytes()


def test_no_examples_at_all_is_an_error() -> None:
    files = MemoryFiles()
    with pytest.raises(NoExamples, match="E204"):
        average_slice(files, updates(files, [np.ones(3)], (0, 3), [0]), (0, 3), 0)


def test_another_length_is_an_error() -> None:
    files = MemoryFiles()
    with pytest.raises(ShapeMismatch, match=r"worker 0.*3 values, expected 4"):
        average_slice(files, updates(files, [np.ones(3)], (0, 3)), (0, 4), 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_mean_that_is_not_finite_is_an_error(value: float) -> None:
    files = MemoryFiles()
    with pytest.raises(NotFinite, match="E201"):
        average_slice(files, updates(files, [np.array([1.0, value])], (0, 2)), (0, 2), 0)


def test_large_finite_values_are_no_error() -> None:
    files = MemoryFiles()
    huge = np.full(100, 3e38, dtype=np.float32)
    assert np.isfinite(average_slice(files, updates(files, [huge], (0, 100)), (0, 100), 0)).all()


def test_vectors_are_plain_npy_files() -> None:
    files = MemoryFiles()
    vector = np.arange(7, dtype=np.float32)
    write_vector(files, "v", vector, (0, 3, 7), durable=True)
    assert np.load(io.BytesIO(files.contents["v"]), allow_pickle=False).tolist() == vector.tolist()
    assert len(npy_header("float32", 7)) % 64 == 0


def test_a_vector_in_slices_is_read_as_one() -> None:
    files = MemoryFiles()
    refs = [
        write_vector(files, "a", np.array([1.0, 2.0]), (0, 2), durable=True),
        write_vector(files, "b", np.array([3.0]), (0, 1), durable=True),
    ]
    assert read_vector(files, refs).tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ShapeMismatch):
        read_vector(files, refs, np.empty(4))


@pytest.mark.parametrize("position", [-1, 200])
def test_a_changed_byte_is_noticed(position: int) -> None:
    files = MemoryFiles()
    vector = write_vector(files, "v", np.ones(100), (0, 100), durable=True)
    tensors = write_tensors(files, "t", {"a": np.ones((4, 5)), "b": np.array(3)}, durable=True)
    for path in ("v", "t"):
        content = bytearray(files.contents[path])
        content[position] ^= 1
        files.contents[path] = bytes(content)
    with pytest.raises(TornFile):
        read_vector(files, [vector])
    with pytest.raises(TornFile):
        read_tensors(files, tensors)


def test_tensors_keep_shape_and_type() -> None:
    files = MemoryFiles()
    given_tensors = {"a": np.ones((2, 3), dtype=np.float32), "step": np.array(7, dtype=np.int64), "none": np.ones(0)}
    read = read_tensors(files, write_tensors(files, "t", given_tensors, durable=True))
    assert {name: (value.shape, value.dtype) for name, value in read.items()} == {
        name: (value.shape, value.dtype) for name, value in given_tensors.items()
    }


@given(st.integers(1, 1000), st.integers(1, 70))
def test_slices_cover_the_vector_and_are_not_empty(count: int, slices: int) -> None:
    bounds = slice_bounds(count, slices)
    assert bounds[0] == 0 and bounds[-1] == count
    assert all(low < high for low, high in pairwise(bounds))
    assert len(bounds) - 1 == min(slices, count)
