"""Train and Predict where TensorFlow is not installed: imported without it, claimed before it is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_archives import Maker

HERE = Path(__file__).parent
SOURCE = Path(__file__).parents[3] / "src"
EVENTS = Path(__file__).parents[3] / "events"

PROBES = """
import json, sys
for name in ("tensorflow", "keras", "h5py", "sklearn", "scipy", "pooch", "click", "rich"):
    sys.modules[name] = None  # as on Lambda, whatever this environment has
from handlers import install_libraries, predict, train
print(json.dumps([one.handler({"probe": True}, None) for one in (train, predict, install_libraries)]))
"""


def run(program: list[str], tmp_path: Path, libraries: str) -> Any:
    """The last line that a program prints, as JSON."""
    variables = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(SOURCE),
        "LAMBDAFIT_HOME": str(tmp_path / "home"),
        "LAMBDAFIT_LIBRARIES": libraries,
    }
    (tmp_path / "home").mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, *program], env=variables, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_probes_are_answered_without_tensorflow(make_archive: Maker, tmp_path: Path) -> None:
    made = make_archive()
    answers = run(["-c", PROBES], tmp_path, str(made.path))
    assert [answer["function"] for answer in answers] == ["train", "predict", "install-libraries"]
    assert {answer["libraries"] for answer in answers} == {made.manifest.digest}
    assert all(answer["shared_writable"] for answer in answers)
    answers = run(["-c", PROBES], tmp_path, "efs")
    assert {answer["libraries"] for answer in answers} == {"none"}


@pytest.mark.parametrize(
    ("file", "number"), [("missing.tar.zst", "E411"), ("cut.tar.zst", "E413"), ("foreign.tar.zst", "E412")]
)
def test_a_task_is_claimed_first_and_reports_what_is_wrong_with_the_libraries(
    make_archive: Maker, tmp_path: Path, file: str, number: str
) -> None:
    path = tmp_path / file
    if number != "E411":
        changes = {"architecture": "riscv64"} if number == "E412" else {}
        data = make_archive(**changes).path.read_bytes()
        path.write_bytes(data if number == "E412" else data[:-9])
    printed = run([str(HERE / "one_task.py")], tmp_path, str(path))
    assert printed["answer"]["outcome"] == "failed"
    assert number in printed["answer"]["error"]
    assert printed["history"] == ["failed"]
    assert printed["spans"] == ["init", "libraries"]


def test_the_sample_event_is_what_the_function_takes() -> None:
    from handlers.install_libraries import FIELDS, TASK

    event = json.loads((EVENTS / "install-libraries.json").read_text())
    assert event["task"] == TASK and event.keys() <= FIELDS
