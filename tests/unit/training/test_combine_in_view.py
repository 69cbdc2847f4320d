"""On one machine updates are mapped, not read: the same bits, the same findings, and nothing stays open."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stores.shared_files import FolderFiles, OpenDescriptor
from training import combine
from training.bfloat16 import to_bfloat16
from training.combine import TornUpdates, Update, average_slice
from training.vector_files import slice_bounds, write_vector

COUNT = 3 * combine.BLOCK_BYTES // 4 + 17
BOUNDS = slice_bounds(COUNT, 3)


def handed_in(folder: Path, dtype: str, examples: list[int]) -> list[Update]:
    random, files = np.random.default_rng(7), FolderFiles(folder)
    updates = []
    for index, count in enumerate(examples):
        values = random.normal(size=COUNT).astype(np.float32)
        stored: Any = to_bfloat16(values) if dtype == "bfloat16" else values.astype(dtype)
        ref = write_vector(files, f"u/{index}", stored, BOUNDS, durable=False)
        updates.append(Update(index, ref, count, f"nonce{index}"))
    return updates


def averages(folder: Path, updates: list[Update], *, give_views: bool) -> list[bytes]:
    files = FolderFiles(folder, give_views=give_views)
    return [average_slice(files, updates, BOUNDS, index).tobytes() for index in range(3)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("examples", [[1], [5], [3, 3, 3], [3, 1, 3], [1, 2, 4, 4], [2, 0]])
def test_views_change_no_bit(tmp_path: Path, dtype: str, examples: list[int]) -> None:
    updates = handed_in(tmp_path, dtype, examples)
    assert averages(tmp_path, updates, give_views=True) == averages(tmp_path, updates, give_views=False)


def test_a_view_is_what_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    updates = handed_in(tmp_path, "float32", [1, 1])
    expected = averages(tmp_path, updates, give_views=False)
    reads: list[int] = []
    read = os.preadv
    monkeypatch.setattr(os, "preadv", lambda *a: reads.append(len(a[1][0])) or read(*a))
    assert averages(tmp_path, updates, give_views=True) == expected
    assert set(reads) == {1}  # only whether a file ends too early


@pytest.mark.parametrize("give_views", [True, False])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_torn_updates_are_named_alike(tmp_path: Path, damage: str, give_views: bool) -> None:
    updates = handed_in(tmp_path, "float32", [1, 1, 1])
    path = tmp_path / "u" / "1"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "cut" else content)
    with pytest.raises(TornUpdates) as caught:
        average_slice(FolderFiles(tmp_path, give_views=give_views), updates, BOUNDS, 2)
    assert caught.value.voids == {1: "nonce1"}


def test_a_file_system_without_maps_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    updates = handed_in(tmp_path, "float32", [1, 2])
    expected = averages(tmp_path, updates, give_views=False)

    def refused(*_args: Any, **_options: Any) -> Any:
        raise OSError(19, "No such device")

    monkeypatch.setattr("mmap.mmap", refused)
    assert averages(tmp_path, updates, give_views=True) == expected


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_only_some_of_the_updates_is_mapped_at_a_time(
    tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mapped pages count as the function's memory, and there may be more of them than it has."""
    updates = handed_in(tmp_path, dtype, [1, 1, 1, 1])
    expected = averages(tmp_path, updates, give_views=False)
    monkeypatch.setattr(combine, "BLOCK_BYTES", 4_096)
    monkeypatch.setattr(combine, "VIEWED_BYTES", 4 * 12_288)
    mapped: list[int] = []
    view = OpenDescriptor.view
    monkeypatch.setattr(OpenDescriptor, "view", lambda file, *a: mapped.append(a[1]) or view(file, *a))
    assert averages(tmp_path, updates, give_views=True) == expected
    assert max(mapped) == 12_288
    assert sum(mapped) == sum(update.file.bytes - 128 for update in updates)  # none of it twice


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_no_descriptor_and_no_map_is_left(tmp_path: Path) -> None:
    updates = handed_in(tmp_path, "float32", [1, 1, 1])
    before = len(list(Path("/proc/self/fd").iterdir()))
    averages(tmp_path, updates, give_views=True)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
