"""Whatever a simulated world does to a run, it ends with the fault-free run's parameters, and nothing is left over.

`make simulate SEEDS=100000` tries more, on all cores; `make simulate SEED=17` replays one and prints its schedule.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from runs.paths import run_folder
from simulation.explore import explore
from simulation.mutants import mutated
from simulation.plans import LATE, NAMES, check, clearing_every, expected
from simulation.regressions import seeds as regression_seeds
from simulation.shapes import RUN_ID, SHAPES
from simulation.violations import Violation
from simulation.world import Faults, World, fault_free, settings

SEEDS = int(os.environ.get("LAMBDAFIT_SEEDS", "2000"))
LATE_SEEDS = 30


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Attempts fail by the thousand: their tracebacks are not wanted."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_the_same_seed_gives_the_same_schedule() -> None:
    assert check(5, traces=True).trace == check(5, traces=True).trace


TRACES = """
import zlib
from simulation.plans import check
print([zlib.crc32(repr(check(seed, traces=True).trace).encode()) for seed in range(20, 36)])
"""


def test_a_seed_can_be_replayed_in_another_process() -> None:
    root = Path(__file__).parents[2]
    said = set()
    for hash_seed in ("1", "2"):  # which orders sets of texts differently
        variables = os.environ | {
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root / 'tests'}",
        }
        said.add(
            subprocess.run([sys.executable, "-c", TRACES], env=variables, stdout=subprocess.PIPE, check=True).stdout
        )
    assert len(said) == 1


def test_every_schedule_keeps_every_promise() -> None:
    explored = explore(range(SEEDS))
    for seed, _, what in explored.found:
        print(f"seed {seed}: {what}\n  replay: make simulate SEED={seed}")
    assert not explored.found
    assert explored.ends["FINISHED (rounds)"] > 0.9 * SEEDS


@pytest.mark.parametrize("seed", regression_seeds())
def test_what_once_failed_does_not_fail_again(seed: int) -> None:
    check(seed)


def test_what_an_evaluation_was_writing_when_it_was_killed_is_removed() -> None:
    world = World(0, settings(), Faults(), expected=fault_free(settings()))
    left = f"{run_folder(RUN_ID)}/.model.keras.0a1b2c3d.part"
    world.files.contents[left] = b"half a mod"
    assert world.run().status == "FINISHED"
    assert left not in world.files.contents


def late_readers(seed: int, *, gives_views: bool = False) -> World:
    """A world without damaged files: each wrong byte comes from a spare, and whoever sees one has lost its claim."""
    shape = SHAPES[NAMES.index(("three workers, two slices", "two workers, cleared each round")[seed % 2])]
    facts = {"train_examples": shape.train_examples, "val_examples": shape.val_examples}
    world = World(seed, shape.settings, LATE, facts, expected=expected(shape.name), keep_spares=True, traces=False)
    world.files.gives_views = gives_views
    with clearing_every(1):
        world.run()
        world.watch.check_end()
    return world


def test_what_a_late_reader_sees_reaches_no_decision() -> None:
    late_looks: set[str] = set()
    for seed in range(LATE_SEEDS):
        world = late_readers(seed)
        late_looks |= {path.split("/")[2] for path in world.files.late_looks}
        assert {record.generation for record in world.store.rounds.values()} == {1}
        outcomes = {attempt.outcome for task in world.store.tasks.values() for attempt in task.history}
        assert "failed" not in outcomes, f"seed {seed}"
    assert late_looks >= {"updates", "parameters", "state"}


def test_who_had_a_file_in_view_when_it_was_removed_is_not_believed() -> None:
    """What it checked may have changed before it was added up."""
    late_views = 0
    for seed in range(LATE_SEEDS):
        world = late_readers(seed, gives_views=True)
        late_views += len(world.files.late_views)
        assert {record.generation for record in world.store.rounds.values()} <= {1}
    assert late_views >= LATE_SEEDS


@pytest.mark.parametrize("name", ["a report's nonce is not looked at", "clearing up stays one round behind"])
def test_each_line_behind_a_late_view_is_needed(name: str) -> None:
    for shape in NAMES:
        expected(shape)
    with mutated(name), pytest.raises(Violation) as violation:
        for seed in range(LATE_SEEDS):
            late_readers(seed, gives_views=True)
    print(f"{name}: {violation.value}")


@pytest.mark.parametrize(
    "name",
    [
        "no digest is checked",
        "digests of parameters and states are not checked",
        "a report's nonce is not looked at",
        "clearing up stays one round behind",
    ],
)
def test_each_line_behind_a_late_reader_is_needed(name: str) -> None:
    for shape in NAMES:
        expected(shape)
    with mutated(name), pytest.raises(Violation) as violation:
        for seed in range(LATE_SEEDS):
            late_readers(seed)
    print(f"{name}: {violation.value}")


def test_a_listing_of_half_a_minute_ago_leaves_no_file_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system may not list the newest folder yet; whoever knows its name finds it all the same."""
    shape = SHAPES[NAMES.index("many rounds, cleared as it goes")]
    world = World(1, shape.settings, Faults(), {"train_examples": 23, "val_examples": 0}, expected=expected(shape.name))
    list_now = world.files.names

    def list_late(path: str) -> Sequence[str]:
        now = list_now(path)
        return now[:-1] if path.rpartition("/")[0] == run_folder(RUN_ID) else now

    monkeypatch.setattr(world.files, "names", list_late)
    assert world.run().status == "FINISHED"
    world.watch.check_end()
