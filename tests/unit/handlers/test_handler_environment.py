"""The variables of functions: each one checked, and an error that names it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import InvalidSetting, InvocationFailed
from contracts.stack_errors import FunctionNotFound
from handlers import wiring
from handlers.environment import read_environment
from handlers.lambda_invoker import LambdaInvoker
from stores.dynamodb import DynamoStore
from stores.objects import S3Objects
from stores.sqlite import SqliteStore

SOURCE = Path(__file__).parents[3] / "src"
HEAVY = ("tensorflow", "keras", "sklearn", "scipy", "pooch", "rich", "click")


def test_on_one_machine_a_home_is_enough() -> None:
    known = read_environment({"LAMBDAFIT_HOME": "/home", "LAMBDAFIT_TABLE": ""})
    assert str(known.shared_folder) == "/home/shared" and str(known.store_file) == "/home/runs.db"
    assert known.table == "" and known.threads == 1


def test_on_aws_a_table_is_enough_and_the_files_are_the_mount() -> None:
    known = read_environment({"LAMBDAFIT_TABLE": "t"})
    assert str(known.shared_folder) == "/mnt/lambdafit"
    assert str(read_environment({"LAMBDAFIT_TABLE": "t", "LAMBDAFIT_SHARED": "/x"}).shared_folder) == "/x"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("THREADS", "two"),
        ("THREADS", "0"),
        ("MEMORY_MB", "64"),
        ("TIME_LIMIT_S", "901"),
        ("TIME_LIMIT_S", "nan"),
        ("WORKERS", "-1"),
        ("TOPIC", "my-topic"),
        ("TRAIN_FUNCTION", "a function"),
        ("TELEMETRY_DAYS", "soon"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match="E102") as raised:
        read_environment({"LAMBDAFIT_TABLE": "t", f"LAMBDAFIT_{name}": value})
    assert f"LAMBDAFIT_{name}: {value!r}" in str(raised.value)


def test_neither_home_nor_table_is_an_error() -> None:
    with pytest.raises(InvalidSetting, match="LAMBDAFIT_HOME, LAMBDAFIT_TABLE"):
        read_environment({})


def test_a_table_means_dynamodb_and_who_knows_functions_may_start_them() -> None:
    services = wiring.services()
    assert isinstance(services.store, DynamoStore) and services.telemetry is services.store
    assert isinstance(services.invoker, LambdaInvoker)


def test_a_worker_knows_no_functions_and_may_start_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRAIN", "COMBINE", "PREPARE"):
        monkeypatch.delenv(f"LAMBDAFIT_{name}_FUNCTION")
    with pytest.raises(InvocationFailed, match="E401"):
        wiring.services().invoker.invoke("train", {})


def test_a_function_that_was_not_named_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMBDAFIT_COMBINE_FUNCTION")
    with pytest.raises(FunctionNotFound, match="LAMBDAFIT_COMBINE_FUNCTION is not set"):
        wiring.services().invoker.invoke("combine", {})


def test_without_a_table_the_store_is_sqlite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAMBDAFIT_HOME", str(tmp_path))
    monkeypatch.delenv("LAMBDAFIT_TABLE")
    assert isinstance(wiring.services().store, SqliteStore)


def test_a_bucket_is_named_or_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidSetting, match="LAMBDAFIT_BUCKET"):
        wiring.objects()
    monkeypatch.setenv("LAMBDAFIT_BUCKET", "b")
    wiring.environment.cache_clear()
    assert isinstance(wiring.objects(), S3Objects)


@pytest.mark.parametrize("function", ["start_run", "conduct", "sweep", "monitor", "combine", "prepare"])
def test_light_functions_import_nothing_heavy(function: str) -> None:
    program = f"import sys, handlers.{function}; print([name for name in {HEAVY!r} if name in sys.modules])"
    variables = {**os.environ, "PYTHONPATH": str(SOURCE)}
    shown = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, check=True, text=True)
    assert shown.stdout == "[]\n"


def test_on_one_machine_nothing_of_aws_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys, handlers.combine, handlers.prepare, handlers.wiring; handlers.wiring.services();"
        "print([name for name in ('boto3', 'botocore', 'aws_lambda_powertools') if name in sys.modules])"
    )
    variables = {name: value for name, value in os.environ.items() if not name.startswith("LAMBDAFIT_")}
    variables |= {"PYTHONPATH": str(SOURCE), "LAMBDAFIT_HOME": str(tmp_path)}
    shown = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, check=True, text=True)
    assert shown.stdout == "[]\n"
