"""`train model.keras --data …`, on this machine and in a stack. The model is only read here, never loaded."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import FakeEngine, last_line

from fakes.deployed_stack import DeployedStack
from stores.sqlite import SqliteStore

CONFIG = {
    "class_name": "Sequential",
    "compile_config": {
        "optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.1}},
        "loss": "sparse_categorical_crossentropy",
    },
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "Leaf net.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(CONFIG))
    return path


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    folder = tmp_path / "Leaves"
    folder.mkdir()
    for name, rows in (("x_train", 40), ("y_train", 40), ("x_test", 10), ("y_test", 10)):
        np.save(folder / f"{name}.npy", np.arange(rows * 2).reshape(rows, 2) if name[0] == "x" else np.arange(rows) % 3)
    return folder


def test_a_model_is_trained_here(invoke: Any, home: Path, engine: type[FakeEngine], model: Path, arrays: Path) -> None:
    result = invoke("train", str(model), "--data", str(arrays), "--set", "learning_rate=0.5", "--json")
    assert result.exit_code == 0, result.output
    assert last_line(result)["recipe"] == "leaf-net"
    (run,) = SqliteStore(home / "runs.db").list_runs()
    assert (run.settings.dataset, run.settings.recipe_settings["learning_rate"]) == ("leaves", 0.5)
    kept = (home / "shared" / run.settings.recipe).read_text()
    assert kept.startswith('"""The Keras model leaf-net')


def test_a_model_goes_to_the_stack_by_its_digest_with_its_data(
    invoke: Any, stack: DeployedStack, model: Path, arrays: Path
) -> None:
    stack.lambda_.functions["start"] = lambda event: {"run_id": event["run_id"]}
    result = invoke("train", str(model), "--data", str(arrays), "--detach", "--engine", "aws")
    assert result.exit_code == 0, result.output
    (event,) = stack.lambda_.events("start")
    assert stack.objects("recipes/") == [event["recipe_summary"]["location"]]
    assert event["recipe_summary"]["dataset"] == "leaves"
    assert event["data_folder"].startswith("datasets/leaves-")
    assert f"{event['data_folder']}/x_train.npy" in stack.objects()


def test_a_data_set_that_was_pushed_goes_by_its_name(
    invoke: Any, stack: DeployedStack, model: Path, arrays: Path
) -> None:
    assert invoke("data", "push", str(arrays), "--name", "mine").exit_code == 0
    folder = last_line(invoke("data", "list", "--json"))["datasets"][0]["folder"]
    stack.lambda_.functions["start"] = lambda event: {"run_id": event["run_id"]}
    result = invoke("train", str(model), "--data", "mine", "--detach", "--engine", "aws")
    assert result.exit_code == 0, result.output
    (event,) = stack.lambda_.events("start")
    assert (event["recipe_summary"]["dataset"], event["data_folder"]) == ("mine", folder)
    absent = invoke("train", str(model), "--data", "nowhere", "--detach", "--engine", "aws")
    assert "E105 DataNotFound" in absent.stderr
    assert "it has no data set 'nowhere'" in absent.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["Leaf net.keras"], "E102 InvalidSetting: --data: not given"),
        (["Leaf net.keras", "--data", "nothing"], "E102 InvalidSetting: --data: there is no 'nothing'"),
        (["Leaf net.keras", "--data", "."], "E105 DataNotFound"),
        (["digits-mlp", "--data", "digits"], "E102 InvalidSetting: --data"),
        (["none.keras", "--data", "digits"], "E104 RecipeFailed: none.keras: it cannot be read"),
    ],
)
def test_a_model_or_data_that_will_not_do(
    invoke: Any, home: Path, model: Path, arguments: list[str], text: str
) -> None:
    result = invoke("train", *arguments)
    assert result.exit_code == 3
    assert text in result.stderr
    assert not home.exists()
