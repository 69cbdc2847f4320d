"""Updates as bfloat16: what rounding takes away is as safe as the rest of a worker's state."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from contracts.settings import RunSettings
from runs import half_updates, train
from simulation.violations import Violation
from simulation.world import Faults, World, fault_free, settings
from training.bfloat16 import from_bfloat16

SEEDS = 40
HALVED = {
    "several rounds": settings(update_dtype="bfloat16", workers=2, epochs=3),
    "in several pauses": settings(
        update_dtype="bfloat16", workers=1, slices=1, epochs=None, rounds=3, steps_per_round=12, time_limit_s=80.0
    ),
    "gradients": settings(update_dtype="bfloat16", sync="gradients", workers=2, epochs=1),
}
FACTS = {"train_examples": 40, "val_examples": 5}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@cache
def expected(name: str) -> World:
    return fault_free(HALVED[name], **FACTS)


def digest(run_settings: RunSettings) -> Any:
    return fault_free(run_settings, **FACTS).store.runs["r-simulated"].results["parameters_sha256"]


@pytest.mark.parametrize("name", HALVED)
def test_faults_and_pauses_change_no_bit(name: str) -> None:
    for seed in range(SEEDS):
        world = World(seed, HALVED[name], Faults(), FACTS, expected=expected(name), traces=False)
        world.run()
        world.watch.check_end()


def test_rounding_shows_in_the_parameters() -> None:
    halved = HALVED["several rounds"]
    assert digest(halved) != digest(replace(halved, update_dtype="float32"))
    assert digest(halved) == digest(replace(halved, slices=1)), "but slices do not"


def test_feedback_shows_in_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    with_feedback = digest(HALVED["several rounds"])
    monkeypatch.setattr(train, "parted", lambda tensors: (half_updates.parted(tensors)[0], {}))
    assert digest(HALVED["several rounds"]) != with_feedback


def test_a_pause_that_forgets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = expected("in several pauses")
    pause = train._pause
    monkeypatch.setattr(train, "_pause", lambda execution, shard, error: pause(execution, shard, {}))
    with pytest.raises(Violation):
        for seed in range(SEEDS):
            World(seed, HALVED["in several pauses"], Faults(), FACTS, expected=whole, traces=False).run()


def test_what_is_kept_is_not_the_trainers() -> None:
    own: Mapping[str, Any] = {"momentum": np.ones(3)}
    halves, left = half_updates.handed_in(HALVED["gradients"], np.full(3, 1.001, dtype=np.float32), {})
    assert halves.dtype == np.uint16
    tensors, error = half_updates.parted({**own, **left})
    assert list(tensors) == ["momentum"] and list(error) == list(left)
    kept = from_bfloat16(halves) + from_bfloat16(next(iter(error.values())))
    assert kept == pytest.approx([1.001] * 3, rel=2**-16)


def test_whole_updates_are_left_as_they_are() -> None:
    update = np.ones(3, dtype=np.float64)
    same, left = half_updates.handed_in(settings(), update, {})
    assert same is update and not left
