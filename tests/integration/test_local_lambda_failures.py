"""The local Lambda engine with real processes: time limits, memory, crashes, failed starts."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from contracts.errors import EnvironmentFailed, ErrorRecord, ShapeMismatch
from engines.local_lambda import environment
from engines.local_lambda.pool import Invocation
from integration.lambda_helpers import Engine, Gate, function, request


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as one:
        yield one


def failed(invocation: Invocation, name: str) -> ErrorRecord:
    """The error of a failed invocation, which must be of this kind."""
    assert invocation.outcome == "failed"
    assert invocation.error is not None
    assert invocation.error.name == name
    assert invocation.result is None
    return invocation.error


def test_time_limit_kills_the_whole_group(tmp_path: Path, gate: Gate) -> None:
    with Engine(tmp_path, function("meet", time_limit_s=0.5)) as engine:
        engine.invoke("f", gate.event("slow", grandchild=True))
        visitors = [gate.wait(), gate.wait()]
        ended = engine.next_ended()
        for visitor in visitors:
            visitor.wait_until_dead()
        error = failed(ended, "TimedOut")
        assert "at most 0.5 s" in error.message
        assert error.retryable
        assert 0.5 <= ended.ended_at - ended.started_at < 3.0
        assert f"{ended.request_id} E402" in engine.log()
        # What the killed one says now is refused, and its successor is another process.
        facts = next(one.facts for one in visitors if one.facts["name"] == "slow")
        path = f"invocation/{facts['request_id']}/response"
        assert request(facts["address"], "POST", path, b'"late"') == 403
        engine.invoke("f", gate.event("next"))
        successor = gate.wait()
        successor.let_through()
        assert engine.next_ended().result["name"] == "next"
        assert successor.facts["pid"] != facts["pid"]
        assert engine.ended.empty()


def test_stopped_process_is_killed_too(tmp_path: Path, gate: Gate) -> None:
    with Engine(tmp_path, function("meet", time_limit_s=0.5)) as engine:
        engine.invoke("f", gate.event("stopped", stop=True))
        visitor = gate.wait()
        failed(engine.next_ended(), "TimedOut")
        visitor.wait_until_dead()


def test_memory_limit(tmp_path: Path, gate: Gate) -> None:
    with Engine(tmp_path, function("meet", memory_mb=100)) as engine:
        engine.invoke("f", gate.event("hungry", megabytes=150))
        visitor = gate.wait()
        ended = engine.next_ended()
        visitor.wait_until_dead()
        error = failed(ended, "OutOfMemory")
        assert "MB resident, expected at most 100 MB" in error.message
        assert ended.peak_memory_bytes > 100 * 2**20


def test_exit_in_the_handler(tmp_path: Path) -> None:
    with Engine(tmp_path, function("act")) as engine:
        error = failed(engine.run({"do": "exit", "value": 3}), "InvocationFailed")
        assert "exit code 3 in the middle of an invocation" in error.message
        assert "about to leave" in error.message
        again = engine.run({"do": "return", "value": 5})
        assert (again.result, again.cold, again.log_stream) == (5, True, "f-02")


def test_killed_from_outside(tmp_path: Path, gate: Gate) -> None:
    with Engine(tmp_path, function("meet")) as engine:
        engine.invoke("f", gate.event("victim"))
        psutil.Process(gate.wait().facts["pid"]).kill()
        assert "signal SIGKILL" in failed(engine.next_ended(), "InvocationFailed").message


def test_killed_while_idle_costs_nothing(tmp_path: Path) -> None:
    with Engine(tmp_path, function("about")) as engine:
        first = engine.run({})
        process = psutil.Process(first.result["pid"])
        process.kill()
        psutil.wait_procs([process], timeout=10)
        second = engine.run({})
        assert second.outcome == "returned"
        assert second.cold


def test_what_died_unnoticed_is_given_no_work(tmp_path: Path) -> None:
    with Engine(tmp_path, function("about")) as engine:
        process = psutil.Process(engine.run({}).result["pid"])
        with engine._scheduler._lock:  # so that it can notice nothing before it has the invocation
            process.kill()
            psutil.wait_procs([process], timeout=10)
            engine.invoke("f", {})
        second = engine.next_ended()
        assert second.outcome == "returned"
        assert second.cold


def test_first_answer_counts_even_of_a_process_that_dies(tmp_path: Path) -> None:
    with Engine(tmp_path, function("answer_and_leave")) as engine:
        ended = engine.run({})
        assert (ended.outcome, ended.result) == ("returned", "first")
        assert engine.run({}).log_stream == "f-02"


def test_without_exit_descriptors(tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_exit_fd", lambda _: None)  # as on macOS
    with Engine(tmp_path, function("act")) as engine:
        assert "exit code 3" in failed(engine.run({"do": "exit", "value": 3}), "InvocationFailed").message
    with Engine(tmp_path, function("meet", time_limit_s=0.5)) as engine:
        engine.invoke("f", gate.event("slow"))
        visitor = gate.wait()
        failed(engine.next_ended(), "TimedOut")
        visitor.wait_until_dead()


def test_numbered_error_keeps_its_number(tmp_path: Path) -> None:
    with Engine(tmp_path, function("act")) as engine:
        error = failed(engine.run({"do": "raise numbered"}), "ShapeMismatch")
        assert (error.number, error.retryable) == ("E203", False)
        assert error.message == "run r-7f round 4: (128, 10), expected (64, 10)."
        assert error.advice == "Look at the recipe."
        with pytest.raises(ShapeMismatch) as caught:
            engine.call("f", {"do": "raise numbered"}, 10)
        assert caught.value.record() == error
        error = failed(engine.run({"do": "raise", "value": "boom"}), "TaskFailed")
        assert error.message == "function 'f': ValueError: boom."


def test_result_that_is_too_large(tmp_path: Path) -> None:
    with Engine(tmp_path, function("act")) as engine:
        error = failed(engine.run({"do": "large", "value": 7_000_000}), "InvocationFailed")
        assert "its result is too large, expected at most 6291556 bytes" in error.message
        assert engine.run({"do": "large", "value": 6_000_000}).outcome == "returned"


@pytest.mark.parametrize(
    ("source", "handler", "expected"),
    [
        ("\n\nimport nonesuch\n", "broken.handler", ["ModuleNotFoundError: No module named 'nonesuch'", "line 3"]),
        ("def handler(:\n", "broken.handler", ["SyntaxError", "broken.py, line 1"]),
        ("x = 1\n", "broken.handler", ["has no attribute 'handler'"]),
        ("", "nomodule.handler", ["No module named 'nomodule'"]),
        ("", "handler", ["not of the form module.function"]),
        ("handler = 3\n", "broken.handler", ["is not a function"]),
        ("import sys\nsys.exit('no GPU')\n", "broken.handler", ["SystemExit: no GPU", "line 2"]),
        ("import os\nos._exit(7)\n", "broken.handler", ["exit code 7 while it started"]),
        ("import os\nos.kill(os.getpid(), 9)\n", "broken.handler", ["signal SIGKILL while it started"]),
    ],
)
def test_failed_start_is_tried_twice(tmp_path: Path, source: str, handler: str, expected: list[str]) -> None:
    (tmp_path / "broken.py").write_text(source)
    broken = function("echo") if handler == "handler" else function(handler)
    if handler == "handler":
        broken = type(broken)("f", handler, 1, 20.0, 1024)
    with Engine(tmp_path, broken) as engine:
        error = failed(engine.run({}), "EnvironmentFailed")
        assert all(text in error.message for text in expected), error.message
        assert not error.retryable
        assert len(list(engine.log_folder.iterdir())) == 2
        with pytest.raises(EnvironmentFailed):
            engine.call("f", {}, 20)


def test_numbered_error_at_import(tmp_path: Path) -> None:
    source = "from contracts.errors import HomeInUse\nraise HomeInUse('home', 'in use')\n"
    (tmp_path / "broken.py").write_text(source)
    with Engine(tmp_path, function("broken.handler")) as engine:
        assert failed(engine.run({}), "HomeInUse").number == "E301"


def test_start_that_takes_too_long(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text("import threading\nthreading.Event().wait(60)\n")
    with Engine(tmp_path, function("endless.handler", init_limit_s=0.4)) as engine:
        error = failed(engine.run({}), "EnvironmentFailed")
        assert "it was not ready, expected within 0.4 s" in error.message


def test_process_that_cannot_be_started(tmp_path: Path) -> None:
    with Engine(tmp_path, function("echo")) as engine:
        engine.log_folder.rmdir()
        error = failed(engine.run({}), "EnvironmentFailed")
        assert "its process cannot be started" in error.message


def test_failed_starts_end_every_waiting_invocation(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nonesuch\n")
    with Engine(tmp_path, function("broken.handler", concurrency=2)) as engine:
        engine.prestart("f", 2)
        for n in range(4):
            engine.invoke("f", {"n": n})
        ended = [engine.next_ended() for _ in range(4)]
        assert {one.event["n"] for one in ended} == {0, 1, 2, 3}
        assert {failed(one, "EnvironmentFailed").number for one in ended} == {"E404"}
        assert len(list(engine.log_folder.iterdir())) <= 2 + 2 * 4
        assert all(one.started_at == 0.0 for one in ended)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGSEGV])
def test_other_signals(tmp_path: Path, number: signal.Signals) -> None:
    with Engine(tmp_path, function("act")) as engine:
        error = failed(engine.run({"do": "kill", "value": number}), "InvocationFailed")
        assert number.name in error.message
