"""The local Lambda engine with real processes: scheduling, reuse, results, stopping."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from contracts.errors import InvocationFailed, TimedOut
from engines.local_lambda.pool import LocalLambda
from integration.lambda_helpers import HANDLERS, LIMIT_S, Engine, Gate, function, request


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as one:
        yield one


def test_first_is_cold_then_warm(tmp_path: Path) -> None:
    with Engine(tmp_path, function("about", concurrency=4)) as engine:
        first, second = engine.run({"n": 1}), engine.run({"n": 2})
    assert (first.cold, second.cold) == (True, False)
    assert first.init_s > 0.0
    assert second.init_s == 0.0
    assert first.result["pid"] == second.result["pid"]
    assert (first.result["invocations"], second.result["invocations"]) == (1, 2)
    assert first.queued_at <= first.started_at <= first.ended_at <= second.queued_at
    assert first.outcome == "returned"
    assert first.error is None
    assert first.event == {"n": 1}
    assert first.peak_memory_bytes > 2**20
    assert first.log_stream == "f-01"


def test_queue_is_first_come_first_served(tmp_path: Path) -> None:
    with Engine(tmp_path, function("about")) as engine:
        for n in range(6):
            engine.invoke("f", {"n": n})
        ended = [engine.next_ended() for _ in range(6)]
    assert [one.event["n"] for one in ended] == list(range(6))
    assert len({one.result["pid"] for one in ended}) == 1
    starts = [one.started_at for one in ended]
    assert starts == sorted(starts)


def test_concurrency_is_a_cap(tmp_path: Path, gate: Gate) -> None:
    with Engine(tmp_path, function("meet", concurrency=2)) as engine:
        for name in "abc":
            engine.invoke("f", gate.event(name))
        visitors = {one.facts["name"]: one for one in (gate.wait(), gate.wait())}
        assert set(visitors) == {"a", "b"}
        assert (engine.busy("f"), engine.idle("f")) == (2, 0)
        visitors["b"].let_through()
        assert engine.next_ended().result["name"] == "b"
        third = gate.wait()
        assert third.facts["pid"] == visitors["b"].facts["pid"]
        third.let_through()
        visitors["a"].let_through()
        assert {engine.next_ended().event["name"] for _ in range(2)} == {"a", "c"}
        assert (engine.busy("f"), engine.idle()) == (0, 2)


def test_most_recently_used_environment_is_taken_first(tmp_path: Path, gate: Gate) -> None:
    with Engine(tmp_path, function("meet", concurrency=3)) as engine:
        for name in "abc":
            engine.invoke("f", gate.event(name))
        visitors = {one.facts["name"]: one for one in (gate.wait(), gate.wait(), gate.wait())}
        for name in "bca":
            visitors[name].let_through()
            engine.next_ended()
        engine.invoke("f", gate.event("d"))
        again = gate.wait()
        again.let_through()
        assert again.facts["pid"] == visitors["a"].facts["pid"]


def test_affinity_finds_its_environment_again(tmp_path: Path, gate: Gate) -> None:
    with Engine(tmp_path, function("meet", concurrency=3)) as engine:
        homes: dict[str, int] = {}
        for turn in ("012", "201", "120"):
            for worker in turn:
                engine.invoke("f", gate.event(worker), affinity=f"worker-{worker}")
            visitors = [gate.wait() for _ in turn]
            for visitor in visitors:
                worker, pid = visitor.facts["name"], visitor.facts["pid"]
                assert homes.setdefault(worker, pid) == pid
                visitor.let_through()
            for _ in turn:
                engine.next_ended()
        assert len(set(homes.values())) == 3


def test_newcomer_takes_an_environment_that_is_nobodys(tmp_path: Path, gate: Gate) -> None:
    with Engine(tmp_path, function("meet", concurrency=2)) as engine:
        for name in ("a", ""):
            engine.invoke("f", gate.event(name), affinity=name)
        visitors = {one.facts["name"]: one for one in (gate.wait(), gate.wait())}
        for name in ("", "a"):  # so a's environment is the most recently used
            visitors[name].let_through()
            engine.next_ended()
        engine.invoke("f", gate.event("b"), affinity="b")
        newcomer = gate.wait()
        newcomer.let_through()
        assert newcomer.facts["pid"] == visitors[""].facts["pid"]


def test_prestarted_environments_are_not_cold(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(0.6)\ndef handler(event, context): return 1\n")
    with Engine(tmp_path, function("slow.handler", time_limit_s=0.4)) as engine:
        engine.prestart("f", 5)
        waited = engine.run({})  # the import takes longer than the time limit, which does not count it
        assert waited.result == 1
        assert waited.cold
        assert waited.init_s > 0.6
        assert not engine.run({}).cold
        assert engine.idle() == 1


def test_log_has_start_and_report_and_is_private(tmp_path: Path) -> None:
    with Engine(tmp_path, function("act")) as engine:
        one = engine.run({"do": "print", "value": "grüße"})
        lines = engine.log().splitlines()
        mode = stat.S_IMODE((engine.log_folder / "f-01.log").stat().st_mode)
    assert lines[0] == f"START RequestId: {one.request_id} Version: $LATEST"
    assert lines[1:3] == ["grüße", "to stderr"]
    assert lines[3] == f"END RequestId: {one.request_id}"
    assert lines[4].startswith(f"REPORT RequestId: {one.request_id}\tDuration: ")
    assert "Init Duration" in lines[4]
    assert mode == 0o600


def test_environment_is_lambdas_and_has_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")
    monkeypatch.setenv("LAMBDAFIT_HOME", "/somewhere")
    own = function("about", environment={"MINE": "1", "BOTH": "function"})
    with Engine(tmp_path, own, environment={"BOTH": "engine"}) as engine:
        seen = engine.run({}).result
    variables = seen["variables"]
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == "f"
    assert variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "1024"
    assert variables["AWS_LAMBDA_LOG_STREAM_NAME"] == "f-01"
    assert variables["LAMBDAFIT_HOME"] == "/somewhere"
    assert (variables["MINE"], variables["BOTH"]) == ("1", "function")
    assert not {"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "DATABASE_PASSWORD"} & set(variables)
    assert seen["process_group"] == seen["pid"]


def test_working_folder_cannot_shadow_modules(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    with LocalLambda(
        [function("echo")],
        log_folder=tmp_path / "logs",
        on_ended=print,
        environment={"PYTHONPATH": str(HANDLERS)},
        working_folder=tmp_path,
    ) as engine:
        assert engine.call("f", {"a": 1}, LIMIT_S) == {"a": 1}


def test_call_returns_raises_and_gives_up(tmp_path: Path, gate: Gate) -> None:
    with Engine(tmp_path, function("meet")) as engine:
        with pytest.raises(TimedOut, match=r"no answer within 0\.05 s"):
            engine.call("f", gate.event("slow"), 0.05)
        engine.invoke("f", gate.event("after"))
        first = gate.wait()
        if first.facts["name"] == "slow":  # it had begun, and ran on
            first.let_through()
            first = gate.wait()
        first.let_through()
        assert engine.next_ended().result["name"] == "after"  # calls are not told to on_ended
        assert engine.ended.empty()


def test_refused_at_once(tmp_path: Path) -> None:
    engine = Engine(tmp_path, function("echo"))
    with pytest.raises(InvocationFailed, match="'g', expected one of f"):
        engine.invoke("g", {})
    with pytest.raises(InvocationFailed, match="the event is no JSON"):
        engine.invoke("f", {"x": object()})
    with pytest.raises(InvocationFailed, match="an event of 7000009 bytes, expected at most 6291556"):
        engine.invoke("f", {"x": "y" * 7_000_000})
    engine.stop()
    with pytest.raises(InvocationFailed, match="engine stopped"):
        engine.invoke("f", {})
    assert engine.ended.empty()


def test_callback_that_raises_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    seen = threading.Semaphore(0)

    def fail(_: object) -> None:
        seen.release()
        raise RuntimeError("in the callback")

    with LocalLambda(
        [function("echo")], log_folder=tmp_path, on_ended=fail, environment={"PYTHONPATH": str(HANDLERS)}
    ) as engine:
        for _ in range(2):
            engine.invoke("f", {})
            assert seen.acquire(timeout=LIMIT_S)
    assert caplog.text.count("RuntimeError: in the callback") == 2


def test_stop_ends_everything_and_leaves_no_process(tmp_path: Path, gate: Gate) -> None:
    before = set(psutil.Process().children(recursive=True))
    threads, descriptors = threading.active_count(), psutil.Process().num_fds()
    with Engine(tmp_path, function("meet", concurrency=2)) as engine:
        for name in ("busy", "busy", "queued", "queued"):
            engine.invoke("f", gate.event(name, grandchild=name == "busy"))
        visitors = [gate.wait() for _ in range(4)]
        engine.stop()
        engine.stop()
        ended = [engine.ended.get_nowait() for _ in range(4)]
        for visitor in visitors:
            visitor.wait_until_dead()
            visitor.peer.close()
    assert {one.error.message for one in ended if one.error} == {"function 'f': engine stopped."}
    assert {one.error.name for one in ended if one.error} == {"InvocationFailed"}
    assert all(one.outcome == "failed" for one in ended)
    assert engine.ended.empty()
    assert set(psutil.Process().children(recursive=True)) <= before
    assert threading.active_count() == threads
    assert psutil.Process().num_fds() <= descriptors


def test_callback_may_stop_the_engine(tmp_path: Path) -> None:
    stopped = threading.Event()
    engine: LocalLambda

    def stop(_: object) -> None:
        engine.stop()
        stopped.set()

    engine = LocalLambda(
        [function("echo")], log_folder=tmp_path, on_ended=stop, environment={"PYTHONPATH": str(HANDLERS)}
    )
    engine.invoke("f", {})
    assert stopped.wait(LIMIT_S)


PARENT = """
import pathlib, sys, threading
from integration.lambda_helpers import Engine, function
engine = Engine(pathlib.Path(sys.argv[1]), function("meet", concurrency=2))
engine.prestart("f", 2)
engine.invoke("f", {"gate": int(sys.argv[2]), "name": "orphan"})
if sys.argv[3] == "stay":
    threading.Event().wait(60)
engine.next_ended()
"""


@pytest.mark.parametrize("end", ["killed", "left"])
def test_environments_die_with_their_parent(tmp_path: Path, gate: Gate, end: str) -> None:
    path = os.pathsep.join(str(folder) for folder in (HANDLERS.parent, HANDLERS.parents[1] / "src"))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), str(gate.port), "stay" if end == "killed" else "leave"],
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        visitor = gate.wait()
        children = psutil.Process(parent.pid).children()
        assert visitor.facts["pid"] in {child.pid for child in children}
        if end == "killed":
            parent.kill()
        else:
            visitor.let_through()  # it leaves without stop(): atexit sees to that
        parent.wait(LIMIT_S)
        visitor.wait_until_dead()
        assert not psutil.wait_procs(children, timeout=LIMIT_S)[1]
    finally:
        parent.kill()
        parent.wait()


def test_only_the_secret_opens_the_api(tmp_path: Path, gate: Gate) -> None:
    with Engine(tmp_path, function("meet", concurrency=2)) as engine:
        engine.invoke("f", gate.event("a"))
        engine.invoke("f", gate.event("b"))
        one, other = gate.wait(), gate.wait()
        address, request_id = one.facts["address"], one.facts["request_id"]
        port = address.partition("/")[0]
        assert address.startswith("127.0.0.1:")
        for wrong in (f"{port}/guess", f"{port}/", f"{port}/{address.partition('/')[2][:-1]}"):
            assert request(wrong, "GET", "invocation/next") == 403
            assert request(wrong, "POST", f"invocation/{request_id}/response", b'"stolen"') == 403
        # With a right token, only what belongs to this environment.
        assert request(other.facts["address"], "POST", f"invocation/{request_id}/response", b"1") == 400
        assert request(address, "POST", "invocation/unknown/response", b"1") == 400
        assert request(address, "GET", "invocation/next") == 400
        assert request(address, "GET", "nonsense") == 404
        one.let_through()
        other.let_through()
        assert {engine.next_ended().result["name"] for _ in range(2)} == {"a", "b"}
        assert request(address, "POST", f"invocation/{request_id}/response", b'"late"') == 400
        assert engine.ended.empty()


def test_each_invocation_ends_exactly_once(tmp_path: Path) -> None:
    draw = random.Random(7)
    events = [
        {"do": "return", "value": 1},
        {"do": "raise", "value": "x"},
        {"do": "unserialisable"},
        {"do": "exit", "value": 1},
        {"do": "kill", "value": signal.SIGKILL},
    ]
    weights = [150, 20, 20, 5, 5]
    plan = [draw.choices(events, weights)[0] | {"n": n} for n in range(200)]
    with Engine(tmp_path, function("act", concurrency=3)) as engine:
        senders = [
            threading.Thread(target=lambda part=part: [engine.invoke("f", one) for one in plan[part::4]])
            for part in range(4)
        ]
        for sender in senders:
            sender.start()
        ended = [engine.next_ended() for _ in plan]
        for sender in senders:
            sender.join()
        assert engine.busy() == 0
    assert engine.ended.empty()
    assert sorted(one.event["n"] for one in ended) == list(range(200))
    assert len({one.request_id for one in ended}) == 200
    for one in ended:
        assert (one.outcome == "returned") == (one.event["do"] == "return")
        assert (one.error is None) == (one.outcome == "returned")
