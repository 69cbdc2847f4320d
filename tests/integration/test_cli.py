"""The command line on real processes. Where the protocol is meant, training is arithmetic in which mistakes show."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from engines.home import Home, HomeLock
from stores.sqlite import SqliteStore

TESTS = Path(__file__).parents[1]
SOURCE = TESTS.parent / "src"
ARITHMETIC = (str(TESTS / "integration" / "arithmetic_cli.py"),)
REAL = ("-P", "-m", "cli.main")
TRAIN = ("train", "digits-mlp", "--workers", "4", "--epochs", "4", "--json")
LIMIT_S = 240


class Program:
    """`lambdafit` in one home.

    Args:
        program: what Python is to run.
        variables: beside LAMBDAFIT_HOME.
    """

    def __init__(self, home: Path, program: tuple[str, ...] = ARITHMETIC, **variables: str) -> None:
        self.home = home
        self._command = [sys.executable, *program]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LAMBDAFIT_")}
        self.variables = kept | {"LAMBDAFIT_HOME": str(home), "PYTHONPATH": str(SOURCE), **variables}

    def __call__(self, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self._command, *arguments], env=self.variables, capture_output=True, text=True, timeout=LIMIT_S,
            cwd=self.home.parent,
        )  # fmt: skip
        assert done.returncode == expect, done.stdout + done.stderr
        return done

    def json(self, *arguments: str, expect: int = 0) -> dict[str, Any]:
        return last_line(self(*arguments, expect=expect).stdout)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Run it beside the test, its progress to be read."""
        return subprocess.Popen(
            [*self._command, *arguments], env=self.variables, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, cwd=self.home.parent,
        )  # fmt: skip


def last_line(stdout: str) -> dict[str, Any]:
    found = json.loads(stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    """Read the progress up to a line that matches."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if re.search(pattern, line):
            return line
    raise AssertionError(f"no {pattern!r} in:\n" + "".join(seen))


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """The rest of what it prints."""
    try:
        return process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()


@pytest.fixture
def slow(tmp_path: Path) -> Program:
    """A step takes a moment: there is time to do something to the run."""
    return Program(tmp_path / "home", LAMBDAFIT_TEST_STEP_S="0.05", LAMBDAFIT_TEST_HOLD=str(tmp_path / "hold"))


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Path]:
    """Without end the second round: however long the other process takes, the run is still going on."""
    file = tmp_path / "hold"
    file.touch()
    yield file
    file.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The parameters' digest of a run that nothing happens to."""
    return str(Program(tmp_path_factory.mktemp("undisturbed") / "home").json(*TRAIN)["parameters_sha256"])


# --- interruptions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_run_that_resumes_to_the_same_parameters(
    slow: Program, hold: Path, undisturbed: str, number: signal.Signals
) -> None:
    process = slow.start(*TRAIN)
    read_until(process, r"round \d+ of")
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    stdout, stderr = end(process)
    assert process.returncode == 130
    answer = last_line(stdout)
    assert (answer["status"], answer["reason"]) == ("RUNNING", "interrupted")
    assert f"lambdafit runs resume {answer['run_id']}" in stderr
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert slow.json("runs", "list", "--json")["runs"][0]["state"] == "interrupted"
    hold.unlink()
    resumed = slow.json("runs", "resume", "latest", "--json")
    assert resumed["run_id"] == answer["run_id"]
    assert resumed["parameters_sha256"] == undisturbed


def test_a_killed_parent_loses_nothing(slow: Program, hold: Path, undisturbed: str) -> None:
    process = slow.start(*TRAIN)
    read_until(process, r"round \d+ of")
    process.kill()
    end(process)
    hold.unlink()
    assert slow.json("runs", "resume", "latest", "--json")["parameters_sha256"] == undisturbed


def test_killed_again_and_again(slow: Program, undisturbed: str) -> None:
    command = TRAIN
    for _ in range(3):
        process = slow.start(*command)
        read_until(process, r"round \d+ of")
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        end(process)
        command = ("runs", "resume", "latest", "--json")
    assert slow.json(*command)["parameters_sha256"] == undisturbed


def test_a_second_ctrl_c_leaves_at_once(tmp_path: Path, undisturbed: str) -> None:
    program = Program(tmp_path / "home", LAMBDAFIT_TEST_STEP_S="0.05")
    process = program.start(*TRAIN)
    read_until(process, r"round \d+ of")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    end(process)
    assert process.returncode == 130
    assert program.json("runs", "resume", "latest", "--json")["parameters_sha256"] == undisturbed


def test_the_live_picture_on_a_terminal(slow: Program) -> None:
    reading, writing = os.openpty()
    process = subprocess.Popen(
        [sys.executable, *ARITHMETIC, *TRAIN[:-1]], stdout=writing, stderr=writing, cwd=slow.home.parent,
        env=slow.variables | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
    )  # fmt: skip
    os.close(writing)
    shown = b"".join(iter(lambda: _read(reading), b"")).decode()
    assert process.wait(LIMIT_S) == 0
    assert "round" in shown
    assert "worker 3" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is back"
    assert "finished: all epochs done" in shown[shown.rindex("\x1b[?25h") :]
    assert "Traceback" not in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux says so when the other side is closed
        return b""


# --- several processes -------------------------------------------------------------------------------------


def test_a_run_is_stopped_from_another_process_and_resumed(slow: Program, hold: Path, undisturbed: str) -> None:
    process = slow.start(*TRAIN)
    read_until(process, r"round \d+ of")
    assert slow.json("runs", "list", "--json")["runs"][0]["state"] == "running"
    assert "is stopped" in slow("runs", "stop", "latest").stdout
    stdout, stderr = end(process)
    assert process.returncode == 1
    assert (last_line(stdout)["status"], last_line(stdout)["error"]["number"]) == ("CANCELLED", "E503")
    assert "E503 RunCancelled" in stderr
    hold.unlink()
    assert slow.json("runs", "resume", "latest", "--json")["parameters_sha256"] == undisturbed


def test_one_engine_a_home(slow: Program) -> None:
    process = slow.start("train", "digits-mlp", "--epochs", "500")
    read_until(process, r"round \d+ of")
    second = slow("train", "digits-mlp", expect=3)
    assert "E301 HomeInUse" in second.stderr
    assert f"process {process.pid}" in second.stderr
    assert "E301" in slow("train", "digits-mlp", "--detach", expect=3).stderr
    assert "E301" in slow("runs", "resume", "latest", expect=3).stderr
    assert "E301" in slow("runs", "rm", "latest", "-y", expect=3).stderr
    process.send_signal(signal.SIGINT)
    end(process)
    assert len(slow.json("runs", "list", "--json")["runs"]) == 1


@pytest.fixture
def detached(slow: Program) -> Iterator[str]:
    """A run in the background; it ends with the test."""
    run_id = slow("train", "digits-mlp", "--workers", "4", "--epochs", "4", "--detach").stdout.strip()
    yield run_id
    slow("runs", "stop", run_id)


def test_a_detached_run_is_watched_to_its_end(slow: Program, hold: Path, detached: str, undisturbed: str) -> None:
    assert slow.json("runs", "list", "--json")["runs"][0]["state"] == "running"
    hold.unlink()
    answer = slow.json("watch", detached, "--json")
    assert (answer["run_id"], answer["status"]) == (detached, "FINISHED")
    assert answer["parameters_sha256"] == undisturbed
    log = (slow.home / "logs" / detached / "conductor.log").read_text()
    assert "finished: all epochs done" in log or "clearing up" in log


def test_a_detached_run_that_is_stopped_is_seen_by_who_watches(slow: Program, hold: Path, detached: str) -> None:
    process = slow.start("watch", "latest")
    read_until(process, r"round \d+ of")
    slow("runs", "stop", "latest")
    end(process)
    assert process.returncode == 1


def test_watching_ends_when_the_engine_dies(slow: Program, hold: Path, detached: str) -> None:
    process = slow.start("watch", "latest")
    read_until(process, r"round \d+ of")
    holder = HomeLock(Home(slow.home)).held_by_other()
    os.kill(int(re.findall(r"process (\d+)", holder)[0]), signal.SIGKILL)
    _, stderr = end(process)
    assert process.returncode == 130
    assert f"lambdafit runs resume {detached}" in stderr


# --- the home ----------------------------------------------------------------------------------------------


def test_prefixes_on_real_runs(tmp_path: Path) -> None:
    program = Program(tmp_path / "home")
    first, second = (program.json(*TRAIN, "--seed", seed)["run_id"] for seed in ("1", "2"))
    assert program.json("runs", "show", first, "--json")["seed"] == 1
    assert program.json("runs", "show", "latest", "--json")["run_id"] == second
    ambiguous = program("runs", "show", "r-", expect=3).stderr
    assert "E108" in ambiguous
    assert first in ambiguous
    assert second in ambiguous
    assert "E108" in program("runs", "show", "../x", expect=3).stderr
    program("runs", "rm", first, "-y")
    assert [run["run_id"] for run in program.json("runs", "list", "--json")["runs"]] == [second]
    left = [path for path in (tmp_path / "home").rglob("*") if first in str(path)]
    assert left == []


def test_homes_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file" / "home", Path("/proc/lambdafit")):
        done = subprocess.run(
            [sys.executable, *ARITHMETIC, "train", "digits-mlp"], env={**os.environ, "LAMBDAFIT_HOME": str(home)},
            capture_output=True, text=True, cwd=tmp_path, timeout=LIMIT_S,
        )  # fmt: skip
        assert done.returncode == 3
        assert done.stderr.startswith("E302 HomeNotWritable: LAMBDAFIT_HOME")


def test_the_logs_of_one_worker(tmp_path: Path) -> None:
    program = Program(tmp_path / "home")
    program.json(*TRAIN)
    store = SqliteStore(tmp_path / "home" / "runs.db")
    (run,) = store.list_runs()
    lines = program("logs", "latest", "--worker", "1").stdout.splitlines()
    starts = [line for line in lines if " START RequestId: " in line]
    assert len(starts) == run.round_index - 1, "one invocation a round"
    assert len(starts) < program("logs", "latest").stdout.count("START RequestId")


# --- with TensorFlow ---------------------------------------------------------------------------------------

REAL_TRAIN = ("train", "digits-mlp", "--workers", "2", "--epochs", "6", "--seed", "3", "--json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, Mapping[str, Any]]:
    """A whole run with TensorFlow, and its answer."""
    program = Program(tmp_path_factory.mktemp("trained") / "home", REAL)
    return program, program.json(*REAL_TRAIN)


def test_train_end_to_end(trained: tuple[Program, Mapping[str, Any]]) -> None:
    program, answer = trained
    assert (answer["status"], answer["reason"], answer["epochs"]) == ("FINISHED", "epochs", 6.0)
    assert answer["test_accuracy"] > 0.8
    assert answer["cost_usd"] > 0
    assert len(answer["parameters_sha256"]) == 64
    assert "tensorflow" in answer["fingerprint"]
    assert program.json("runs", "show", "latest", "--json") == {**answer, "elapsed_s": answer["elapsed_s"]}
    text = program("runs", "show", "latest").stdout
    assert "Where the time went" in text
    assert "compute" in text
    modes = {path.stat().st_mode & 0o077 for path in program.home.rglob("*") if path.is_file()}
    assert modes == {0}, "nobody else can read anything in the home"


def test_the_trained_model_predicts(trained: tuple[Program, Mapping[str, Any]], tmp_path: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    program, _ = trained
    digits = load_digits()
    names = [str(tmp_path / f"{index}.png") for index in range(20)]
    for name, image in zip(names, digits.images, strict=False):
        Image.fromarray((image * 255 / 16).astype("uint8")).save(name)
    found = program.json("predict", "latest", *names, "--json")["predictions"]
    assert sum(one["label"] == label for one, label in zip(found, digits.target, strict=False)) >= 15
    assert all(0 <= one["confidence"] <= 1 and len(one["top"]) == 3 for one in found)
    Image.new("L", (28, 28)).save(tmp_path / "large.png")
    error = program("predict", "latest", str(tmp_path / "large.png"), expect=3).stderr
    assert "E107 InvalidImage" in error
    assert "28×28" in error


def test_an_evaluation_gives_the_runs_own_figures(trained: tuple[Program, Mapping[str, Any]]) -> None:
    program, answer = trained
    found = program.json("evaluate", "latest", "--json")
    for name in ("run_id", "val_loss", "val_accuracy", "test_loss", "test_accuracy", "parameters_sha256"):
        assert found[name] == answer[name]


READ_EVENTS = """
import sys, tensorflow as tf
for path in sys.argv[1:]:
    for event in tf.compat.v1.train.summary_iterator(path):
        for value in event.summary.value:
            print(path.split("/")[-2], value.tag, event.step, value.simple_value, event.wall_time)
"""


def test_exports(trained: tuple[Program, Mapping[str, Any]], tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    program, answer = trained
    program("export", "latest", "--to", "safetensors", "--output", str(tmp_path / "m.safetensors"))
    assert sum(tensor.size for tensor in load_file(tmp_path / "m.safetensors").values()) == 64 * 64 + 64 + 64 * 10 + 10
    program("export", "latest", "--to", "keras", "--output", str(tmp_path / "m.keras"))
    assert (tmp_path / "m.keras").read_bytes().startswith(b"PK")
    program("export", "latest", "--to", "tensorboard", "--output", str(tmp_path / "events"))
    files = sorted(str(path) for path in (tmp_path / "events").rglob("*tfevents*"))
    assert [path.split("/")[-2] for path in files] == ["rounds", "worker-000", "worker-001"]
    done = subprocess.run([sys.executable, "-c", READ_EVENTS, *files], capture_output=True, text=True, check=True)
    points = [line.split() for line in done.stdout.splitlines()]
    losses = [float(value) for name, tag, _, value, _ in points if (name, tag) == ("rounds", "train/loss")]
    assert len(losses) == answer["rounds"]
    assert losses[-1] == pytest.approx(answer["train_loss"], rel=1e-5)
    assert {name for name, tag, *_ in points if tag == "train/loss"} == {"rounds", "worker-000", "worker-001"}


def test_a_killed_parent_with_tensorflow(trained: tuple[Program, Mapping[str, Any]], tmp_path: Path) -> None:
    program = Program(tmp_path / "home", REAL)
    process = program.start(*REAL_TRAIN)
    read_until(process, r"round \d+ of .* loss")
    process.kill()
    end(process)
    assert program.json("runs", "resume", "latest", "--json")["parameters_sha256"] == trained[1]["parameters_sha256"]
