"""How many slices a run chooses."""

from __future__ import annotations

import pytest

from runs.slices import slice_count
from simulation.world import settings

MB = 1 << 20


@pytest.mark.parametrize(
    ("workers", "concurrency", "update_bytes", "expected"),
    [
        (4, 4, 400_000, 1),  # too small for a second invocation
        (16, 16, 4 * MB, 2),
        (16, 16, 43 * MB, 16),  # as many as run side by side
        (16, 2, 43 * MB, 2),
        (64, 64, 80 * MB, 64),  # never more
        (256, 256, 80 * MB, 64),
        (256, 256, 4 * MB, 4),  # each slice opens all 256 files
        (256, 256, 0, 1),
    ],
)
def test_by_bytes_and_by_files(workers: int, concurrency: int, update_bytes: int, expected: int) -> None:
    assert slice_count(settings(workers=workers, concurrency=concurrency, slices=None), update_bytes) == expected


def test_as_asked_for() -> None:
    assert slice_count(settings(slices=7), 1) == 7
