"""awslambdaric and the pure-Python runtime client behave alike under the engine."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.local_lambda.invocation import Function
from integration.lambda_helpers import HANDLERS, Engine

NAMES = ("about", "act", "echo", "remaining")
HAS_AWSLAMBDARIC = importlib.util.find_spec("awslambdaric") is not None
CLIENTS = [
    pytest.param(
        "awslambdaric", marks=pytest.mark.skipif(not HAS_AWSLAMBDARIC, reason="there is no build for this system")
    ),
    "pure",
]


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engine(client: str, tmp_path: Path) -> Iterator[Engine]:
    functions = [Function(name, f"lambda_handlers.{name}", 1, 20.0, 256) for name in NAMES]
    variables = {"PYTHONPATH": str(HANDLERS), "LAMBDAFIT_RUNTIME_CLIENT": client}
    with Engine(tmp_path, *functions, environment=variables) as one:
        yield one


def test_context(engine: Engine, client: str) -> None:
    engine.invoke("about", {"a": [1, None, "ü"]})
    ended = engine.next_ended()
    seen = ended.result
    assert seen["awslambdaric"] == (client == "awslambdaric")
    assert seen["event"] == {"a": [1, None, "ü"]}
    assert seen["aws_request_id"] == ended.request_id
    assert seen["function_name"] == "about"
    assert seen["memory_limit_in_mb"] == "256"
    assert seen["invoked_function_arn"].startswith("arn:aws:lambda:")
    assert seen["invoked_function_arn"].endswith(":000000000000:function:about")
    assert seen["log_stream_name"] == ended.log_stream == "about-01"
    assert 15_000 < seen["remaining_ms"] <= 20_000
    assert seen["variables"]["_X_AMZN_TRACE_ID"].startswith("Root=1-")


def test_an_environment_keeps_its_trace_id_as_each_new_one_would_stay_in_memory_for_good(engine: Engine) -> None:
    first, second = (engine.call("about", {}, 20)["variables"]["_X_AMZN_TRACE_ID"] for _ in range(2))
    assert first == second


def test_remaining_time_decreases(engine: Engine) -> None:
    seen = engine.call("remaining", {}, 20)
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 10


@pytest.mark.parametrize("value", [None, 0, "ü", [1.5, True], {"a": {"b": []}}])
def test_result(engine: Engine, value: object) -> None:
    assert engine.call("act", {"do": "return", "value": value}, 20) == value


def test_large_payload(engine: Engine) -> None:
    event = {"x": "ü" * 250_000, "y": list(range(1000))}
    assert engine.call("echo", event, 20) == event


def test_exception(engine: Engine) -> None:
    engine.invoke("act", {"do": "raise", "value": "boom"})
    ended = engine.next_ended()
    assert ended.error is not None
    assert (ended.error.name, ended.error.message) == ("TaskFailed", "function 'act': ValueError: boom.")
    log = engine.log("act-01")
    assert "[ERROR] ValueError: boom" in log
    assert "lambda_handlers.py" in log
    engine.invoke("act", {"do": "raise numbered"})
    error = engine.next_ended().error
    assert error is not None
    assert (error.number, error.advice) == ("E203", "Look at the recipe.")


def test_unserialisable_result(engine: Engine) -> None:
    engine.invoke("act", {"do": "unserialisable"})
    error = engine.next_ended().error
    assert error is not None
    assert error.name == "TaskFailed"
    assert "Runtime.MarshalError: Unable to marshal response: " in error.message
    assert "not JSON serializable" in error.message


def test_exit(engine: Engine) -> None:
    engine.invoke("act", {"do": "exit", "value": 3})
    error = engine.next_ended().error
    assert error is not None
    assert error.name == "InvocationFailed"
    assert "exit code 3" in error.message
    assert engine.call("act", {"do": "return", "value": 1}, 20) == 1


def test_print_goes_to_the_log(engine: Engine) -> None:
    engine.invoke("act", {"do": "print", "value": "hello"})
    ended = engine.next_ended()
    lines = engine.log("act-01").splitlines()
    assert lines[0] == f"START RequestId: {ended.request_id} Version: $LATEST"
    assert lines[1:3] == ["hello", "to stderr"]
    assert lines[3] == f"END RequestId: {ended.request_id}"


def test_result_that_is_too_large(engine: Engine) -> None:
    engine.invoke("act", {"do": "large", "value": 7_000_000})
    error = engine.next_ended().error
    assert error is not None
    assert "its result is too large" in error.message
    assert engine.call("act", {"do": "return", "value": 1}, 20) == 1


def test_failed_import(engine: Engine, client: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("\nimport nonesuch\n")
    variables = {"PYTHONPATH": str(tmp_path), "LAMBDAFIT_RUNTIME_CLIENT": client}
    with Engine(tmp_path, Function("f", "broken.handler", 1, 20.0, 256), environment=variables) as other:
        error = other.run({}).error
    assert error is not None
    assert error.name == "EnvironmentFailed"
    assert "No module named 'nonesuch'" in error.message
    assert "broken.py, line 2" in error.message
