"""Whichever thread decodes a stored record first, and however many do at once, the process lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
PROCESSES = 12
"""Where the types' tables were made by the first who decodes, one process in four to eight died."""

PROGRAM = """
import sys, threading
sys.setswitchinterval(1e-6)
import msgspec
from contracts.records import Run
from contracts.settings import RunSettings
settings = RunSettings(recipe="a", recipe_digest="b", dataset="c", workers=4, batch_size=4, epochs=1)
data = msgspec.json.encode(Run(run_id="r-1", settings=settings, code_version="1", created_at=5.0, deadline_at=9.0))
begin, decoded = threading.Barrier(8), []
def decode():
    begin.wait()
    for _ in range(20):
        decoded.append(msgspec.json.decode(data, type=Run))
threads = [threading.Thread(target=decode) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(decoded), {msgspec.json.encode(run) == data for run in decoded})
"""


def test_many_threads_decode_a_type_for_the_first_time() -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={"PYTHONPATH": str(SOURCE)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    ends = [(process.communicate(timeout=60)[0].strip(), process.returncode) for process in started]
    assert ends == [("160 {True}", 0)] * PROCESSES
