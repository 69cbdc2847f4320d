"""`--detach`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import FakeEngine, last_line

from cli import detached
from runs.own_process import SOURCE_FOLDER

CHILD = """
import os, sys
assert "--detach" not in sys.argv, sys.argv
pipe = int(sys.argv[sys.argv.index("--announce") + 1])
"""


def test_detach_tells_the_run_as_soon_as_it_goes(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detached, "PROGRAM", ("-c", CHILD + 'os.write(pipe, b\'{"run_id": "r-0001"}\')'))
    result = invoke("train", "digits-mlp", "--detach")
    assert result.exit_code == 0
    assert result.stdout.strip() == "r-0001"
    assert "lambdafit watch r-0001" in result.stderr
    found = last_line(invoke("train", "digits-mlp", "--detach", "--json"))
    assert (found["run_id"], found["status"]) == ("r-0001", "RUNNING")


@pytest.mark.parametrize(("code", "expected"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 1)])
def test_a_background_process_that_fails_is_seen(
    invoke: Any, monkeypatch: pytest.MonkeyPatch, code: str, expected: int
) -> None:
    monkeypatch.setattr(detached, "PROGRAM", ("-c", CHILD + code))
    assert invoke("train", "digits-mlp", "--detach").exit_code == expected


def test_the_background_process_announces_its_run_and_prints_into_its_logs(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    code = (
        "import os; from pathlib import Path; from cli.detached import announce_run\n"
        f"announce_run({writing}, 'r-0001', Path({str(tmp_path)!r})); os.write(1, b'printed\\n')"
    )
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(SOURCE_FOLDER)}, pass_fds=[writing], check=True)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert json.loads(pipe.read()) == {"run_id": "r-0001"}
    assert (tmp_path / detached.LOG_NAME).read_text() == "printed\n"


def test_a_run_in_the_foreground_announces_nothing(invoke: Any, engine: type[FakeEngine], home: Path) -> None:
    assert invoke("train", "digits-mlp").exit_code == 0
    (folder,) = (home / "logs").iterdir()
    assert list(folder.iterdir()) == []
