"""What is held back for a combine of many small parts covers all that it reads."""

from __future__ import annotations

from runs.sizes import Sizes, StepTime
from runs.transfer import most
from runs.workload import Workload
from simulation.world import settings
from training.shards import plan_rounds


def test_no_combine_of_many_small_parts_moves_more_than_is_held_back() -> None:
    """Each update is opened, and its last byte looked at, whatever the size of the part."""
    sizes = Sizes(10_000_000, 0, 0, 60_000, 0, 0, 0, 0, "made up")
    asked = settings(workers=256, concurrency=256, slices=None, rounds=1, epochs=None)
    work = Workload(asked, sizes, StepTime(0.01, 1, "made up"), plan_rounds(sizes.examples, asked))
    bound = most(work.run(), "combine")
    one = work.files.of("combine")
    assert work.slices > 30
    assert one.read_bytes / work.slices <= bound.read_bytes
    assert one.written_bytes / work.slices <= bound.written_bytes
