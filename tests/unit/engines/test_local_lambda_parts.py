"""Parts of the local Lambda engine that need no process."""

from __future__ import annotations

import json

import pytest

from contracts.error_catalogue import all_errors, error_from_record
from contracts.errors import InvalidSetting, ShapeMismatch, TaskFailed
from contracts.function_errors import error_in_answer
from engines.local_lambda.environment import exit_text
from engines.local_lambda.invocation import Function, random_uuid
from engines.local_lambda.runtime_api import parse_head
from engines.local_lambda.variables import process_variables


def answer(name: str, message: str) -> bytes:
    return json.dumps({"errorType": name, "errorMessage": message, "stackTrace": []}).encode()


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_numbered_error_survives_the_way(kind: type) -> None:
    for error in (kind("here", "two\nlines", "one"), kind("here", "that", advice="Do this.")):
        back = error_in_answer(answer(kind.__name__, str(error)), "train")
        assert type(back) is kind
        assert back.record() == error.record()
        assert str(back) == str(error)


def test_other_errors_are_task_failed() -> None:
    for body, text in (
        (answer("KeyError", "'x'"), "function 'train': KeyError: 'x'."),
        (answer("KeyError", ""), "function 'train': KeyError."),
        (answer("X", "E999 Unknown: what"), "function 'train': X: E999 Unknown: what."),
        (b"no json", "function 'train': Error: no json."),
        (b"[]", "function 'train': Error: []."),
        (b"", "function 'train': Error."),
        (b'{"errorType": null, "errorMessage": 3}', "function 'train': Error: 3."),
    ):
        error = error_in_answer(body, "train")
        assert type(error) is TaskFailed
        assert error.message == text


def test_number_in_the_message_or_class_name_is_enough() -> None:
    printed = str(ShapeMismatch("here", "3", "4"))
    assert type(error_in_answer(answer("Wrapped", printed), "train")) is ShapeMismatch
    bare = error_in_answer(answer("ShapeMismatch", "a bare text"), "train")
    assert (type(bare), bare.message, bare.advice_given) == (ShapeMismatch, "a bare text", ShapeMismatch.advice)


def test_from_record_of_an_unknown_error() -> None:
    record = ShapeMismatch("here", "3").record()
    assert type(error_from_record(record)) is ShapeMismatch
    unknown = type(record)(number="E999", name="Later", message="m", advice="a", retryable=False, exit_code=1)
    assert type(error_from_record(unknown)) is TaskFailed


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET /t/next HTTP/1.1\r\nHost: x", ("GET", "/t/next", 0)),
        (b"POST /t HTTP/1.1\r\nHost: x\r\nCONTENT-LENGTH:  12 \r\nA: b", ("POST", "/t", 12)),
        (b"POST /t HTTP/1.1\r\nContent-Length: 12", ("POST", "/t", 12)),
    ],
)
def test_parse_head(head: bytes, expected: tuple[str, str, int]) -> None:
    assert parse_head(head) == expected


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET /t",
        b"GET / t HTTP/1.1",
        b"POST /t HTTP/1.1\r\nTransfer-Encoding: chunked",
        b"POST /t HTTP/1.1\r\nContent-Length: -1",
        b"POST /t HTTP/1.1\r\nContent-Length: 1_0",
        b"POST /t HTTP/1.1\r\nContent-Length:",
        b"POST /t HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2",
    ],
)
def test_parse_head_refuses(head: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_head(head)


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 65, "a/b"])
def test_function_names_are_safe(name: str) -> None:
    with pytest.raises(InvalidSetting):
        Function(name, "m.h", 1, 1.0, 128)


def test_concurrency_is_positive() -> None:
    with pytest.raises(InvalidSetting):
        Function("f", "m.h", 0, 1.0, 128)


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "PYTHONHOME"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    function = Function("f", "m.h", 1, 1.0, 128, environment={"AWS_ACCESS_KEY_ID": "given", "_HANDLER": "evil"})
    variables = process_variables(function, "f-01", "127.0.0.1:1/t", {"PYTHONPATH": "/more"})
    assert not {name for name in variables if "SECRET" in name or "TOKEN" in name or "CREDENTIALS" in name}
    assert variables["AWS_REGION"] == "eu-central-1"
    assert variables["OMP_NUM_THREADS"] == "1"
    assert variables["AWS_ACCESS_KEY_ID"] == "given"
    assert variables["_HANDLER"] == "m.h"
    assert variables["PYTHONPATH"].endswith(":/more")
    assert "PYTHONHOME" not in variables


def test_exit_text() -> None:
    assert exit_text(3) == "exit code 3"
    assert exit_text(-9) == "signal SIGKILL"
    assert exit_text(-40) == "signal 40"
    assert exit_text(None) == "no exit code"


def test_random_uuid() -> None:
    ids = {random_uuid() for _ in range(100)}
    assert len(ids) == 100
    assert all([len(part) for part in one.split("-")] == [8, 4, 4, 4, 12] for one in ids)
