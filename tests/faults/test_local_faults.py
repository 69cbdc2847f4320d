"""Real faults on real processes of one machine: every run ends with the fault-free parameters, resumed if it must be.

`make faults SCHEDULES=200` plays many more, also in the rehearsal's stack.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from faults.local_stage import SMALL, Stage, fault_free_digest, libfaketime
from faults.schedules import FEATURES, KINDS, fault, possible
from faults.table import Played, Series

TESTS = Path(__file__).parents[1]
FOLDERS = (str(TESTS.parent / "src"), str(TESTS))
NAMES = tuple(KINDS)
SEEDS = (3, 18, 27, 30, 37, 43, 50, 57, 75, 88, 101, 140)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str | int, Future[Played]]]:
    """All of them, two named ones in a run, and runs side by side: a run waits much of its time."""
    played = Series(tmp_path_factory.mktemp("faults"))
    names = [name for name in possible() if name not in FEATURES]
    half = (len(names) + 1) // 2
    pairs = [(name, *names[index + half : index + half + 1]) for index, name in enumerate(names[:half])]
    named = {name: future for pair in pairs for future in [played.named(*pair)] for name in pair}
    named |= {name: played.named(name) for name in FEATURES}
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


WAITS = """
import os, time
from faults import hooks
hooks.install("worker")
begun = time.monotonic()
time.sleep(0.05)
assert time.monotonic() - begun >= 0.04
print(time.time())
"""


@pytest.mark.skipif(not libfaketime(), reason="needs libfaketime")
@pytest.mark.parametrize("offset_s", [-3_600.0, 200_000.0])
def test_a_wrong_clock_leaves_waiting_alone(tmp_path: Path, offset_s: float) -> None:
    """The library that makes the clock wrong has every `time.sleep` fail, which no wrong clock does."""
    stage = Stage(tmp_path, SMALL, ())
    stage.skew("machine", offset_s)
    variables = {**os.environ, **stage.faketime(), "PYTHONPATH": os.pathsep.join(FOLDERS)}
    done = subprocess.run([sys.executable, "-c", WAITS], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert abs(float(done.stdout) - time.time() - offset_s) < 60


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
