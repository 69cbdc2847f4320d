"""`logs`, `predict`, `evaluate`, `export`, `recipes`, `doctor`, `invoke` and `--detach`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import FakeEngine, RunsInStore, failed, interrupted, last_line
from msgspec.structs import replace

from cli import detached, doctor
from cli.model_export import put
from contracts.errors import InvalidImage, NotFinite
from contracts.records import Run
from engines.home import Home, HomeLock
from runs.recipes import SOURCE_FOLDER

LOG = """\
START RequestId: request-1-0-1 Version: $LATEST
of worker 0
END RequestId: request-1-0-1
REPORT RequestId: request-1-0-1\tDuration: 4.18 ms
between two
START RequestId: request-2-1-2 Version: $LATEST
of worker 1
END RequestId: request-2-1-2
REPORT RequestId: request-2-1-2\tDuration: 4.18 ms
"""


# --- logs --------------------------------------------------------------------------------------------------


def test_logs_of_all_environments(invoke: Any, stored: RunsInStore) -> None:
    stored.add()
    stored.log("r-0001", "train-01", "hello\nno newline")
    stored.log("r-0001", "combine-01", "there\n")
    result = invoke("logs", "latest")
    assert result.stdout.splitlines() == ["combine-01  there", "train-01  hello", "train-01  no newline"]


def test_logs_of_one_worker(invoke: Any, stored: RunsInStore) -> None:
    stored.add()
    stored.add_history()
    stored.claim("r-0001", 3, 0, "request-3-0-1")
    stored.log("r-0001", "train-01", LOG)
    stored.log("r-0001", "train-02", LOG.replace("-1-0-1", "-3-0-1").replace("of worker 0", "still at work"))
    lines = invoke("logs", "latest", "--worker", "0").stdout.splitlines()
    assert [line for line in lines if "work" in line] == ["train-01  of worker 0", "train-02  still at work"]
    assert not any("between" in line or "worker 1" in line for line in lines)
    assert "train-01  of worker 1" in invoke("logs", "latest", "--worker", "1").stdout


def test_logs_of_nobody(invoke: Any, stored: RunsInStore) -> None:
    stored.add()
    assert "has printed nothing" in invoke("logs", "latest").stderr
    assert "Worker 1 of run r-0001 has printed nothing" in invoke("logs", "latest", "--worker", "1").stderr
    result = invoke("logs", "latest", "--worker", "2")
    assert result.exit_code == 3
    assert "E102 InvalidSetting: --worker: 2, expected 0 to 1" in result.stderr


def test_logs_are_followed_without_a_busy_loop(
    invoke: Any, stored: RunsInStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.add("r-0001", interrupted)
    stored.log("r-0001", "train-01", "one\nha")
    clock = [0.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        slept.append(seconds)
        if len(slept) == 1:
            stored.log("r-0001", "train-01", "one\nhalf a line\n")
            stored.log("r-0001", "train-02", "another\n")

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    result = invoke("logs", "latest", "-f")
    assert result.stdout.splitlines() == ["train-01  one", "train-01  half a line", "train-02  another"]
    assert min(slept) >= 0.2


def test_lines_of_a_request_wait_until_it_is_known_whose_it_is(
    invoke: Any, stored: RunsInStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.add("r-0001", interrupted)
    stored.log("r-0001", "train-01", "START RequestId: late Version: $LATEST\nearly words\n")
    clock = [0.0]

    def sleep(seconds: float) -> None:
        if not clock[0]:
            stored.claim("r-0001", 1, 1, "late")
        clock[0] += seconds

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    assert "early words" in invoke("logs", "latest", "--worker", "1", "-f").stdout


# --- the model ---------------------------------------------------------------------------------------------


class Functions:
    """Stands in for the predict function."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[Mapping[str, Any]] = []
        self.answer: Any = {}
        monkeypatch.setattr("cli.model_screens.call", self.call)

    def call(self, function: str, event: Mapping[str, Any], *_places: object, **options: object) -> Any:
        assert function == "predict"
        self.events.append(event)
        answer = self.answer(event) if callable(self.answer) else self.answer
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> Functions:
    return Functions(monkeypatch)


SHOE = {
    "image": "a.png",
    "label": 7,
    "class_name": "sneaker",
    "confidence": 0.97,
    "top": [
        {"label": 7, "class_name": "sneaker", "confidence": 0.97},
        {"label": 9, "class_name": "ankle boot", "confidence": 0.02},
    ],
}


def test_predict_prints_a_line_a_picture(
    invoke: Any, stored: RunsInStore, functions: Functions, tmp_path: Path
) -> None:
    stored.add()
    (tmp_path / "a.png").write_bytes(b"")
    functions.answer = {"run_id": "r-0001", "round_index": 4, "predictions": [SHOE]}
    lines = invoke("predict", "latest", "a.png").stdout.splitlines()
    assert lines[-1].split() == ["a.png", "sneaker", "97.0", "%", "ankle", "boot", "2.0", "%"]
    assert functions.events == [{"run_id": "r-0001", "task": "predict", "images": ["a.png"]}]
    assert last_line(invoke("predict", "latest", "a.png", "--json"))["predictions"] == [SHOE]


def test_predict_refuses_what_is_no_file(
    invoke: Any, stored: RunsInStore, functions: Functions, tmp_path: Path
) -> None:
    stored.add()
    for name, text in (("nothing.png", "there is no such file"), (str(tmp_path), "it is a folder")):
        result = invoke("predict", "latest", name)
        assert result.exit_code == 3
        assert f"E107 InvalidImage: {name}: {text}" in result.stderr
    assert functions.events == []


def test_predict_passes_the_functions_error_on(
    invoke: Any, stored: RunsInStore, functions: Functions, tmp_path: Path
) -> None:
    stored.add()
    (tmp_path / "a.png").write_bytes(b"")
    functions.answer = InvalidImage("a.png", "it is 9×9 pixels", "8×8")
    result = invoke("predict", "latest", "a.png", "--json")
    assert result.exit_code == 3
    assert "E107 InvalidImage: a.png: it is 9×9 pixels, expected 8×8." in result.stderr
    assert last_line(result)["error"]["number"] == "E107"


def no_parameters(run: Run) -> Run:
    return replace(interrupted(run), parameters=())


def test_a_model_that_is_not_ready(invoke: Any, stored: RunsInStore, functions: Functions, tmp_path: Path) -> None:
    stored.add("r-0001", no_parameters)
    (tmp_path / "a.png").write_bytes(b"")
    for command in (["predict", "latest", "a.png"], ["evaluate", "latest"], ["export", "latest", "--to", "keras"]):
        result = invoke(*command)
        assert result.exit_code == 3
        assert "E206 ModelNotReady" in result.stderr


def test_evaluate(invoke: Any, stored: RunsInStore, functions: Functions) -> None:
    stored.add()
    functions.answer = {
        "run_id": "r-0001", "round_index": 4, "val_loss": 0.2, "val_accuracy": 0.95, "test_loss": 0.3,
        "test_accuracy": 0.94, "parameters_sha256": "abab",
    }  # fmt: skip
    text = invoke("evaluate", "latest").stdout
    assert ["test", "set", "0.3000", "0.9400"] in [line.split() for line in text.splitlines()]
    assert "abab" in text
    assert last_line(invoke("evaluate", "latest", "--json")) == functions.answer


def test_export_of_a_finished_run_copies_its_file(invoke: Any, stored: RunsInStore, tmp_path: Path) -> None:
    stored.add()
    stored.files.write("runs/r-0001/model.keras", [b"model"], durable=False)
    result = invoke("export", "latest", "--to", "keras")
    assert result.exit_code == 0
    assert result.stdout.strip() == "r-0001.keras"
    assert (tmp_path / "r-0001.keras").read_bytes() == b"model"
    again = invoke("export", "latest", "--to", "keras")
    assert again.exit_code == 3
    assert "E102 InvalidSetting: --output: r-0001.keras exists already" in again.stderr
    assert "--force" in again.stderr
    assert invoke("export", "latest", "--to", "keras", "--force").exit_code == 0
    assert "there is no folder" in invoke("export", "latest", "--to", "keras", "--output", "no/such").stderr


def test_export_of_an_unfinished_run_has_it_made(
    invoke: Any, stored: RunsInStore, functions: Functions, tmp_path: Path
) -> None:
    def make(event: Mapping[str, Any]) -> dict[str, Any]:
        path = f"runs/r-0001/export-{event['name']}"
        stored.files.write(path, [b"model"], durable=False)
        return {"path": path}

    stored.add("r-0001", failed(NotFinite("run", "nan")))
    functions.answer = make
    assert invoke("export", "latest", "--to", "safetensors", "--output", "m.bin").exit_code == 0
    assert (tmp_path / "m.bin").read_bytes() == b"model"
    assert stored.files.names("runs/r-0001") == []


def test_export_of_curves(invoke: Any, stored: RunsInStore, functions: Functions, tmp_path: Path) -> None:
    def make(event: Mapping[str, Any]) -> dict[str, Any]:
        assert event["task"] == "curves"
        path = f"runs/r-0001/export-{event['name']}"
        stored.files.write(f"{path}/rounds/events", [b"events"], durable=False)
        return {"path": path}

    stored.add()
    functions.answer = make
    result = invoke("export", "latest", "--to", "tensorboard")
    assert "tensorboard --logdir r-0001-tensorboard" in result.stderr
    assert (tmp_path / "r-0001-tensorboard" / "rounds" / "events").read_bytes() == b"events"
    (tmp_path / "r-0001-tensorboard" / "stale").touch()
    assert invoke("export", "latest", "--to", "tensorboard", "--force").exit_code == 0
    assert not (tmp_path / "r-0001-tensorboard" / "stale").exists()


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_source: Path, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", fail)
    (tmp_path / "a").write_bytes(b"whole")
    (tmp_path / "b").write_bytes(b"before")
    with pytest.raises(OSError, match="No space"):
        put(tmp_path / "a", tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert (tmp_path / "b").read_bytes() == b"before"


# --- recipes, doctor ---------------------------------------------------------------------------------------


def test_recipes(invoke: Any) -> None:
    text = invoke("recipes").stdout
    for part in ("digits-mlp", "fashion-mnist-cnn", "learning_rate=0.05"):
        assert part in text
    found = last_line(invoke("recipes", "--json"))["recipes"]
    assert found[0]["name"] == "digits-mlp"
    assert found[0]["epochs"] == 20


@pytest.fixture
def tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds to load; whether it does is an integration test's matter."""
    monkeypatch.setattr(doctor, "IMPORT_TENSORFLOW", "print('2.21.0', '3.15.1')")


def test_the_doctor_finds_nothing(invoke: Any, home: Path, tensorflow: None) -> None:
    result = invoke("doctor")
    assert result.exit_code == 0, result.output
    for part in ("Python", "2.21.0, Keras 3.15.1", "digits: comes with scikit-learn", "LAMBDAFIT_DATA"):
        assert part in result.stdout
    assert not home.exists()


def test_the_doctor_finds_what_is_wrong(
    invoke: Any, tensorflow: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LAMBDAFIT_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setenv("LAMBDAFIT_TIMEOUT_S", "soon")
    monkeypatch.setattr(doctor, "IMPORT_TENSORFLOW", "raise ImportError('no AVX')")
    result = invoke("doctor")
    assert result.exit_code == 3
    for part in ("E302", "E102", "ImportError: no AVX"):
        assert part in result.stdout


def test_the_doctor_tells_who_holds_the_lock(home: Path) -> None:
    Home(home).create()
    lock = HomeLock(Home(home))
    lock.acquire("run r-0001")
    check = doctor.check_lock(Home(home))
    assert check.state == "note"
    assert "r-0001" in check.found


def test_old_pythons_are_told_of() -> None:
    assert doctor.check_python((3, 14), "3.14.0").state == "bad"
    assert doctor.check_python((3, 12), "3.12.0").state == "ok"


# --- invoke ------------------------------------------------------------------------------------------------


def test_the_bare_start_event_makes_a_run(invoke: Any, stored: RunsInStore) -> None:
    result = invoke("invoke", "start", "-e", "-", stdin='{"start": true, "workers": 5}')
    assert result.exit_code == 0, result.output
    run = stored.store.load_run(last_line(result)["run_id"])
    assert (run.status, run.settings.workers, run.settings.recipe) == ("PENDING", 5, "digits-mlp")
    assert f"lambdafit runs resume {run.run_id}" in result.stderr


@pytest.mark.parametrize(
    ("function", "event", "number"),
    [
        ("nothing", "{}", "E102"),
        ("start", "{}", "E109"),
        ("start", "[1]", "E109"),
        ("start", "{no json", "E109"),
        ("start", '{"start": true, "workers": 0}', "E102"),
        ("start", '{"start": true, "wrokers": 5}', "E102"),
    ],
)
def test_events_that_are_refused(invoke: Any, home: Path, function: str, event: str, number: str) -> None:
    result = invoke("invoke", function, "-e", "-", stdin=event)
    assert result.exit_code == 3
    assert result.stderr.startswith(number)
    assert not home.exists()


def test_an_event_file(invoke: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, Mapping[str, Any]]] = []

    def call(function: str, event: Mapping[str, Any], *_places: object, **_options: object) -> Any:
        calls.append((function, event))
        return {"outcome": "left"}

    monkeypatch.setattr("cli.invocation.call", call)
    event = {"workerno": 3, "workers": 5, "epochsdone": 6}
    (tmp_path / "train.json").write_text(json.dumps(event))
    result = invoke("invoke", "train", "-e", "train.json")
    assert last_line(result) == {"outcome": "left"}
    assert calls == [("train", event)]
    assert invoke("invoke", "train", "-e", "nothing.json").exit_code == 2


# --- --detach ----------------------------------------------------------------------------------------------

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
