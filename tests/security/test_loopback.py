"""Another user of the machine, at the Runtime API's port: without an environment's own secret he gets nothing done."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.local_lambda import runtime_api
from integration.lambda_helpers import Engine, Gate, function

VERSION = "2018-06-01"
STRANGER = """
import http.client, json, sys
answers = []
for port, method, path, body in json.load(sys.stdin):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        answers.append([answer.status, answer.read().decode()])
    except (OSError, http.client.HTTPException) as error:
        answers.append([0, type(error).__name__])
print(json.dumps(answers))
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path, function("meet", concurrency=1)) as one:
        yield one


def asked_by_a_stranger(port: int, *requests: tuple[str, str, str]) -> list[list[object]]:
    """What a process that has none of our variables is answered."""
    questions = [[port, *request] for request in requests]
    done = subprocess.run(
        [sys.executable, "-I", "-c", STRANGER], input=json.dumps(questions), capture_output=True, text=True, check=True,
        env={},
    )  # fmt: skip
    answers: list[list[object]] = json.loads(done.stdout)
    return answers


def test_a_stranger_posts_no_result_reads_no_event_and_invokes_nothing(engine: Engine) -> None:
    with Gate() as gate:
        engine.invoke("f", gate.event("secret event"))
        visitor = gate.wait()
        port = engine._scheduler._api.port
        request_id = next(one.pending.request_id for one in engine._scheduler.fleets["f"].live if one.pending)
        requests = [
            (method, f"/{prefix}{VERSION}/runtime/{path}", body)
            for prefix in ("", "0" * 32 + "/", "%2e%2e/", "../", "f-01/", "a" * 100_000 + "/")
            for method, path, body in (
                ("GET", "invocation/next", ""), ("POST", f"invocation/{request_id}/response", '{"name": "forged"}'),
                ("POST", f"invocation/{request_id}/error", "{}"), ("POST", "init/error", "{}"),
            )
        ]  # fmt: skip
        requests += [("POST", "/2015-03-31/functions/f/invocations", "{}"), ("GET", "/", "")]
        answers = asked_by_a_stranger(port, *requests)
        assert {status for status, _ in answers} <= {403, 0}
        assert "secret event" not in json.dumps(answers)
        visitor.let_through()
        ended = engine.next_ended()
    assert ended.outcome == "returned"
    assert ended.result["name"] == "secret event"


def test_the_secret_of_one_environment_ends_no_invocation_of_another(tmp_path: Path) -> None:
    with Gate() as gate, Engine(tmp_path, function("meet", concurrency=2)) as engine:
        for name in "ab":
            engine.invoke("f", gate.event(name))
        visitors = [gate.wait(), gate.wait()]
        first, second = engine._scheduler.fleets["f"].live
        assert first.pending is not None
        address = Path(f"/proc/{second.pid}/environ").read_bytes().partition(b"AWS_LAMBDA_RUNTIME_API=")[2]
        host, _, secret = address.partition(b"\0")[0].decode().partition("/")
        connection = http.client.HTTPConnection(host, timeout=20)
        path = f"/{secret}/{VERSION}/runtime/invocation/{first.pending.request_id}/response"
        connection.request("POST", path, '{"name": "forged"}')
        assert connection.getresponse().status == 400
        connection.close()
        for visitor in visitors:
            visitor.let_through()
        assert {engine.next_ended().result["name"] for _ in visitors} == {"a", "b"}


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")
def test_the_system_shows_the_secret_to_its_owner_alone(engine: Engine) -> None:
    with Gate() as gate:
        engine.invoke("f", gate.event("a"))
        visitor = gate.wait()
        pid = engine._scheduler.fleets["f"].live[0].pid
        assert Path(f"/proc/{pid}/environ").stat().st_mode & 0o077 == 0
        assert b"AWS_LAMBDA_RUNTIME_API" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        visitor.let_through()
        engine.next_ended()


def test_it_listens_on_loopback_and_is_not_reachable_otherwise(engine: Engine) -> None:
    api = engine._scheduler._api
    assert api._listener.getsockname()[0] == "127.0.0.1"
    own = [info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    for address in {address for address in own if not str(address).startswith("127.")}:
        with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
            socket.create_connection((str(address), api.port), timeout=2)


def test_secrets_are_looked_up_by_hash_and_are_long() -> None:
    """The time that a look-up takes depends on the guess's hash, which says nothing of how near the guess was."""
    keys = {runtime_api.token_key(os.urandom(16).hex()) for _ in range(100)}
    assert len(keys) == 100
    assert all(len(key) == 32 for key in keys)
    assert runtime_api.token_key("\u2603") != runtime_api.token_key("a")


def test_strangers_who_hold_connections_do_not_keep_work_from_being_done(tmp_path: Path) -> None:
    with Engine(tmp_path, function("echo")) as engine:
        assert engine.run({"n": 1}).result == {"n": 1}
        port = engine._scheduler._api.port
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(3 * runtime_api.MAX_STRANGERS)]
        for one in held:
            one.setblocking(False)
            try:
                one.send(b"GET /" + b"x" * 1000)
            except OSError:
                continue
        begun = time.monotonic()
        assert engine.run({"n": 2}).result == {"n": 2}
        assert time.monotonic() - begun < 10
        assert len(engine._scheduler._api._connections) <= runtime_api.MAX_STRANGERS + 2
        for one in held:
            one.close()
