"""`predict`, `evaluate` and `export`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import RunsInStore, failed, interrupted, last_line
from msgspec.structs import replace

from cli.model_export import put
from contracts.errors import InvalidImage, NotFinite
from contracts.records import Run


class Functions:
    """Stands in for the predict function."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[Mapping[str, Any]] = []
        self.answer: Any = {}
        monkeypatch.setattr("cli.function_calls.call", self.call)

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
