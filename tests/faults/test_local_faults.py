"""Real faults on real processes of one machine: every run ends with the fault-free parameters, resumed if it must be.

`make faults SCHEDULES=200` plays many more, also in the rehearsal's stack.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from faults.local_stage import SMALL, Stage, fault_free_digest
from faults.schedules import KINDS, fault, possible
from faults.table import Played, Series

NAMES = tuple(KINDS)
SEEDS = (3, 18, 27, 30, 37, 43, 50, 57, 75, 88, 101, 140)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str | int, Future[Played]]]:
    """All of them, two named ones in a run, and runs side by side: a run waits much of its time."""
    played = Series(tmp_path_factory.mktemp("faults"))
    names = possible()
    half = (len(names) + 1) // 2
    pairs = [(name, *names[index + half : index + half + 1]) for index, name in enumerate(names[:half])]
    named = {name: future for pair in pairs for future in [played.named(*pair)] for name in pair}
    yield {**named, **{seed: played.random(seed) for seed in SEEDS}}
    played.close()


@pytest.mark.parametrize("name", NAMES)
def test_one_fault(series: dict[str | int, Future[Played]], name: str) -> None:
    if name not in series:
        pytest.skip("needs root's rights, or libfaketime")
    played = series[name].result()
    assert not played.wrong, played
    assert name in played.struck, played


@pytest.mark.parametrize("seed", SEEDS)
def test_a_schedule(series: dict[str | int, Future[Played]], seed: int) -> None:
    played = series[seed].result()
    assert not played.wrong, played


def test_a_mistake_would_be_seen(tmp_path: Path) -> None:
    """With digests unchecked, a damaged update gives other parameters: so the faults do reach the sums."""
    chance = random.Random(0)
    damaged = fault("update damaged", chance, count=3)
    while damaged.how != "flip":
        damaged = fault("update damaged", chance, count=3)
    folder = tmp_path / "careless"
    folder.mkdir()
    outcome = Stage(folder, SMALL, [damaged], {"LAMBDAFIT_TEST_NO_DIGESTS": "1"}).play()
    assert not outcome.wrong and len(outcome.struck) == 1
    assert outcome.digest != fault_free_digest(SMALL, tmp_path / "fault-free")
