"""Processes that share a numerics fingerprint compute the same bits, however many threads each has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from training.numerics import fingerprint, pin_threads
pin_threads(int(sys.argv[1]))
import numpy as np
import xxhash
from training.compiled import compiled_recipe
from training.loop import ShardRun, ShardWork
compiled = compiled_recipe("fashion-mnist-cnn", {"learning_rate": 0.001, "dropout": 0.1, "filters": 4, "units": 16})
random = np.random.default_rng(0)
x, y = random.integers(0, 256, (200, 28, 28), dtype=np.uint8), random.integers(0, 10, 200).astype(np.uint8)
theta, constants, state = compiled.initial(1)
work = ShardWork(sync="local", pieces=[np.arange(200)], batch_size=64, seed=1, round_index=1, worker_index=0)
run = ShardRun(compiled, work, x, y)
run.start(theta, constants, state)
run.advance(4)
unused = {"sklearn.utils", "pandas"} & set(sys.modules)
print(fingerprint(), sorted(unused), xxhash.xxh3_128_hexdigest(run.update(theta).tobytes()), sep="|")
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_two_processes_give_the_same_bits(threads: int) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(threads)], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    first, second = (process.communicate()[0].strip() for process in processes)
    assert first == second
    fingerprint, imported_unused, digest = first.split("|")
    assert f"{threads} thread" in fingerprint
    assert imported_unused == "[]"
    assert len(digest) == 32
