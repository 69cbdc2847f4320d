"""`lambdafit train` with what cannot work: said at once, before anything is written."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import OWN_RECIPE, FakeEngine, last_line

from cli.flags import RUN_ANSWER_KEYS
from engines.home import Home, HomeLock


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (["no-such-recipe"], "E101"),
        (["nowhere.py"], "E101"),
        (["digits-mlp", "--workers", "0"], "E102"),
        (["digits-mlp", "--workers", "-3"], "E102"),
        (["digits-mlp", "--workers", "1025"], "E102"),
        (["digits-mlp", "--epochs", "0"], "E102"),
        (["digits-mlp", "--epochs", "1", "--rounds", "1"], "E102"),
        (["digits-mlp", "--batch-size", "0"], "E102"),
        (["digits-mlp", "--steps-per-round", "-1"], "E102"),
        (["digits-mlp", "--seed", "-1"], "E102"),
        (["digits-mlp", "--outer-learning-rate", "nan"], "E102"),
        (["digits-mlp", "--outer-learning-rate", "inf"], "E102"),
        (["digits-mlp", "--outer-learning-rate", "-1"], "E102"),
        (["digits-mlp", "--outer-momentum", "1"], "E102"),
        (["digits-mlp", "--target-accuracy", "1.5"], "E102"),
        (["digits-mlp", "--patience", "0"], "E102"),
        (["digits-mlp", "--max-cost-usd", "0"], "E102"),
        (["digits-mlp", "--max-cost-usd", "nan"], "E102"),
        (["digits-mlp", "--deadline-s", "inf"], "E102"),
        (["digits-mlp", "--set", "units"], "E102"),
        (["digits-mlp", "--set", "nothing=1"], "E102"),
        (["digits-mlp", "--set", "units=8", "--set", "units=9"], "E102"),
        (["digits-mlp", "--set", "learning_rate=nan"], "E102"),
        (["digits-mlp", "--set", "learning_rate=-1"], "E102"),
        (["digits-mlp", "--engine", "moon"], "E102"),
        (["digits-mlp", "--max-cost-usd", "0.0001"], "E102"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    invoke: Any, home: Path, engine: type[FakeEngine], arguments: list[str], number: str
) -> None:
    result = invoke("train", *arguments, "--json")
    assert result.exit_code == 3
    assert result.stderr.startswith(number)
    assert len(result.stderr.splitlines()) <= 4
    assert "Traceback" not in result.output
    assert not home.exists()
    assert not engine.made
    found = last_line(result)
    assert tuple(found) == RUN_ANSWER_KEYS
    assert (found["run_id"], found["error"]["number"]) == (None, number)


@pytest.mark.parametrize("variable", ["TIMEOUT_S", "MEMORY_MB", "CONCURRENCY"])
@pytest.mark.parametrize("value", ["many", "-1", "0", "nan", "inf"])
def test_bad_limits_in_the_environment(
    invoke: Any, home: Path, engine: type[FakeEngine], monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"LAMBDAFIT_{variable}", value)
    result = invoke("train", "digits-mlp")
    assert result.exit_code == 3
    assert f"E102 InvalidSetting: LAMBDAFIT_{variable}" in result.stderr
    assert not home.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["train"],
        ["train", "digits-mlp", "--nope"],
        ["train", "digits-mlp", "--sync", "x"],
        ["train", "digits-mlp", "--workers", "x"],
        ["tarin"],
    ],
)
def test_usage_errors_are_clicks_own(invoke: Any, home: Path, arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert "Usage: lambdafit" in result.stderr
    assert not home.exists()


def test_mistyped_options_and_commands_are_guessed(invoke: Any) -> None:
    assert "--workers" in invoke("train", "digits-mlp", "--workes", "2").stderr
    assert "train" in invoke("trian").stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("source", "number", "text"),
    [
        ("raise ValueError('no good')", "E104", "bad.py:1: reading the recipe: ValueError: no good"),
        ("def broken(:", "E104", "SyntaxError"),
        ("x = 1", "E101", "defines no `recipe`"),
        ("recipe = 3", "E104", "`recipe` is a int"),
        ("import os; os._exit(7)", "E104", "exit code 7"),
        ("raise SystemExit(2)", "E104", ""),
    ],
)
def test_an_own_recipe_that_fails(
    invoke: Any, home: Path, tmp_path: Path, engine: type[FakeEngine], source: str, number: str, text: str
) -> None:
    (tmp_path / "bad.py").write_text(source + "\n")
    result = invoke("train", "bad.py")
    assert result.exit_code == 3
    assert number in result.stderr
    assert text in result.stderr
    assert "Traceback" not in result.output
    assert not home.exists()


def test_debug_shows_where_an_own_recipe_failed(invoke: Any, tmp_path: Path, engine: type[FakeEngine]) -> None:
    (tmp_path / "bad.py").write_text("def f():\n    raise ValueError('no good')\nf()\n")
    result = invoke("train", "bad.py", "--debug")
    assert "Traceback" in result.stderr
    assert "raise ValueError('no good')" in result.stderr or "line 2, in f" in result.stderr


def test_more_workers_than_examples(invoke: Any, home: Path, tmp_path: Path, engine: type[FakeEngine]) -> None:
    source = """
from training.datasets.source import DataSource
data = DataSource(name="few", load=lambda folder: None, train_examples=3)
"""
    (tmp_path / "few.py").write_text(source + OWN_RECIPE.replace('"digits"', "data"))
    result = invoke("train", "few.py", "--workers", "4")
    assert result.exit_code == 3
    assert "E103 TooManyWorkers: --workers: 4" in result.stderr
    assert not home.exists()


def fashion_files(folder: Path) -> None:
    """Files of the right names and the wrong content."""
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(b"cut off"))


@pytest.mark.parametrize("recipe", ["fashion-mnist-mlp", "own.py"])
def test_corrupted_data_is_found_before_anything_starts(
    invoke: Any, home: Path, tmp_path: Path, engine: type[FakeEngine], monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    (tmp_path / "own.py").write_text(OWN_RECIPE.replace('"digits"', '"fashion-mnist"'))
    fashion_files(tmp_path / "data" / "fashion-mnist")
    monkeypatch.setenv("LAMBDAFIT_DATA", str(tmp_path / "data"))
    result = invoke("train", recipe)
    assert result.exit_code == 3
    assert "E106 DataCorrupted: " in result.stderr
    assert "train-images-idx3-ubyte.gz" in result.stderr
    assert not home.exists()


def test_a_home_below_a_file(
    invoke: Any, tmp_path: Path, engine: type[FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAMBDAFIT_HOME", str(tmp_path / "file" / "home"))
    result = invoke("train", "digits-mlp")
    assert result.exit_code == 3
    assert result.stderr.startswith("E302 HomeNotWritable: LAMBDAFIT_HOME ")
    assert (tmp_path / "file").read_text() == ""


def test_a_home_in_use(invoke: Any, home: Path, engine: type[FakeEngine]) -> None:
    Home(home).create()
    lock = HomeLock(Home(home))
    lock.acquire("run r-other")
    result = invoke("train", "digits-mlp")
    assert result.exit_code == 3
    assert result.stderr.startswith("E301 HomeInUse")
    assert "run r-other" in result.stderr
    assert not (home / "runs.db").exists()


def test_a_disk_that_is_full_leaves_no_run(
    invoke: Any, home: Path, engine: type[FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device", "runs.db")

    monkeypatch.setattr("runs.start.start", full)
    result = invoke("train", "digits-mlp")
    assert result.exit_code == 1
    assert result.stderr.startswith("E303 DiskFull: runs.db: the disk is full")
    assert list((home / "logs").iterdir()) == []
