"""A backbone's outputs under faults: whatever dies, each row's are there, and the run ends as without faults."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache

import pytest

from runs import extract
from simulation.faults import Faults
from simulation.violations import Violation
from simulation.world import World, fault_free, settings
from training import feature_blocks

SEEDS = 150
FACTS = {
    "name": "pictures",
    "folder": "datasets/pictures-0",
    "train_examples": 23,
    "val_examples": 4,
    "test_examples": 6,
    "bytes": 1_000,
}
SETTINGS = settings(workers=2, slices=1, epochs=None, rounds=1, backbone_digest="0123456789abcdef" * 2)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(feature_blocks, "BLOCK_ROWS", 4)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@cache
def expected() -> World:
    return fault_free(SETTINGS, **FACTS)


def simulated(seed: int) -> World:
    world = World(seed, SETTINGS, Faults(), FACTS, expected=expected(), gives_up=False, traces=False)
    world.run()
    world.watch.check_end()
    return world


def test_faults_change_no_feature() -> None:
    facts = expected().store.runs["r-simulated"].feature_facts
    computed = []
    for seed in range(SEEDS):
        world = simulated(seed)
        run = world.store.runs["r-simulated"]
        assert run.feature_facts == facts
        for name in facts["files"]:
            assert (feature_blocks.load_features(world.files, facts, name) == _whole(name)).all()
        tasks = [task for (_, key), task in world.store.tasks.items() if key.kind == "extract"]
        computed.append(sum(task.report.facts["computed"] for task in tasks if task.report))
    blocks = len(feature_blocks.plan_blocks(FACTS))
    assert min(computed) < blocks, "no execution found what another had left"


def test_features_of_other_rows_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "_computed", lambda run, trainer, _: trainer.features(run, "train", 0, 4))
    with pytest.raises((Violation, AssertionError)):
        test_faults_change_no_feature()


def _whole(name: str) -> object:
    world = expected()
    return feature_blocks.load_features(world.files, world.store.runs["r-simulated"].feature_facts, name)
