"""Whatever a simulated world does to a run, it ends with the fault-free run's parameters, and nothing is left over.

`LAMBDAFIT_SEEDS=5000` tries more; `LAMBDAFIT_SEED=17` replays one and prints its schedule.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache

import pytest

from contracts.settings import RunSettings
from runs import stages
from runs.paths import round_folder, run_folder
from simulation.world import RUN_ID, Faults, World, fault_free, settings

SEEDS = int(os.environ.get("LAMBDAFIT_SEEDS", "120"))
ONE_SEED = os.environ.get("LAMBDAFIT_SEED")

ALL_SPARES = bool(os.environ.get("LAMBDAFIT_ALL_SPARES"))
"""Otherwise every second schedule's removed files are overwritten in place."""

SHAPES = {
    "three workers, two slices": settings(),
    "two workers that run one at a time": settings(workers=2, concurrency=1, rounds=5, epochs=None),
    "one worker with long rounds": settings(workers=1, slices=1, steps_per_round=40, epochs=3, concurrency=1),
    "many rounds, cleared as it goes": settings(workers=2, slices=1, steps_per_round=1, rounds=22, epochs=None),
    "stops by patience, best parameters kept": settings(patience=1, epochs=5, validate_every_rounds=1),
}


@cache
def reference(shape: str) -> World:
    return fault_free(SHAPES[shape])


def test_the_same_seed_gives_the_same_schedule() -> None:
    first, second = (World(5, settings(), Faults()) for _ in range(2))
    first.run()
    second.run()
    assert first.trace == second.trace


@pytest.mark.parametrize("shape", SHAPES)
def test_every_schedule_ends_with_the_fault_free_parameters(shape: str) -> None:
    seeds = [int(ONE_SEED)] if ONE_SEED else range(SEEDS)
    for seed in seeds:
        check(seed, shape, SHAPES[shape])


def check(seed: int, shape: str, run_settings: RunSettings) -> None:
    expected = reference(shape)
    world = World(seed, run_settings, Faults(), keep_spares=ALL_SPARES or seed % 2 == 1)
    try:
        run = world.run()
        assert run.status == "FINISHED", run.error
        assert run.results == expected.store.runs[RUN_ID].results
        for key, record in world.store.rounds.items():
            wanted = expected.store.rounds[key]
            assert [ref.parts for ref in record.parameters] == [ref.parts for ref in wanted.parameters]
            assert record.examples == wanted.examples
            # A worker trains again only for a file that was damaged: never for what a late reader saw.
            updates = round_folder(RUN_ID, "updates", record.round_index)
            assert record.generation - 1 <= sum(path.startswith(updates) for path in world.torn)
        assert names(world) == names(expected)
    except BaseException:
        if ONE_SEED:
            print("\n".join(world.trace))
        print(f"replay with LAMBDAFIT_SEED={seed} pytest tests/simulation -s -k '{shape}'")
        raise


LATE = Faults(freeze=0.3, tear=0.0, linger=0.9)


def test_what_a_late_reader_sees_reaches_no_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no file is damaged, each wrong byte comes from a spare: whoever sees one has lost its claim."""
    monkeypatch.setattr(stages, "CLEAR_EVERY_ROUNDS", 1)
    late_looks: set[str] = set()
    for shape in ("three workers, two slices", "many rounds, cleared as it goes"):
        for seed in range(max(30, SEEDS // 4)):  # fewer would not see them all
            world = World(seed, SHAPES[shape], LATE, keep_spares=True)
            run = world.run()
            late_looks |= {path.split("/")[2] for path in world.files.late_looks}
            assert run.status == "FINISHED", run.error
            assert run.results == reference(shape).store.runs[RUN_ID].results
            assert {record.generation for record in world.store.rounds.values()} == {1}
            outcomes = {attempt.outcome for task in world.store.tasks.values() for attempt in task.history}
            assert "failed" not in outcomes, f"seed {seed} of {shape!r}"
    assert late_looks >= {"updates", "parameters", "state"}


def names(world: World) -> list[str]:
    """The files that are left, without the nonces."""
    return sorted(path.rsplit(".", 2)[0] if "/parameters/" in path else path for path in world.files.contents)


def test_a_listing_of_half_a_minute_ago_leaves_no_file_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system may not list the newest folder yet; whoever knows its name finds it all the same."""
    shape = "many rounds, cleared as it goes"
    world = World(1, SHAPES[shape], Faults())
    list_now = world.files.names

    def list_late(path: str) -> Sequence[str]:
        now = list_now(path)
        return now[:-1] if path.rpartition("/")[0] == run_folder(RUN_ID) else now

    monkeypatch.setattr(world.files, "names", list_late)
    assert world.run().status == "FINISHED"
    assert names(world) == names(reference(shape))
