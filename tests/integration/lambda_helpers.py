"""What the tests of the local Lambda engine share."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from engines.local_lambda.invocation import Function, Invocation
from engines.local_lambda.pool import LocalLambda

LIMIT_S = 20.0
HANDLERS = Path(__file__).parent


def function(handler: str, **changes: Any) -> Function:
    """A function called `f`, generous unless told otherwise."""
    name = handler if "." in handler else f"lambda_handlers.{handler}"
    settings: dict[str, Any] = {"concurrency": 1, "time_limit_s": 20.0, "memory_mb": 1024} | changes
    return Function("f", name, **settings)


class Engine(LocalLambda):
    """A LocalLambda that keeps what ended in a queue."""

    def __init__(self, folder: Path, *functions: Function, environment: Mapping[str, str] | None = None) -> None:
        self.ended: queue.Queue[Invocation] = queue.Queue()
        self.log_folder = folder / "logs"
        variables = {"PYTHONPATH": f"{HANDLERS}:{folder}"} | dict(environment or {})
        super().__init__(functions, log_folder=self.log_folder, on_ended=self.ended.put, environment=variables)

    def next_ended(self) -> Invocation:
        """The next invocation that ends."""
        return self.ended.get(timeout=LIMIT_S)

    def run(self, event: Mapping[str, Any], affinity: str = "") -> Invocation:
        """Invoke `f` and wait for its end."""
        self.invoke("f", event, affinity)
        return self.next_ended()

    def log(self, stream: str = "f-01") -> str:
        """An environment's log."""
        return (self.log_folder / f"{stream}.log").read_text()


@dataclass
class Visitor:
    """A process that waits at the gate."""

    facts: dict[str, Any]
    peer: socket.socket

    def let_through(self) -> None:
        """Let it go on."""
        self.peer.sendall(b"!")

    def wait_until_dead(self) -> None:
        """Return once its process has gone, and its end of the connection with it."""
        with contextlib.suppress(ConnectionResetError):
            assert self.peer.recv(1) == b""


class Gate:
    """Where handlers say that they have come, and wait: so tests need no sleeps."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(LIMIT_S)
        self._peers: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for peer in (self._listener, *self._peers):
            peer.close()

    def event(self, name: str = "", **more: Any) -> dict[str, Any]:
        """An event for the handler `meet`."""
        return {"gate": self.port, "name": name, **more}

    def wait(self) -> Visitor:
        """The next process that comes."""
        peer, _ = self._listener.accept()
        peer.settimeout(LIMIT_S)
        self._peers.append(peer)
        line = b""
        while not line.endswith(b"\n"):
            data = peer.recv(65536)
            assert data, "it died on its way"
            line += data
        return Visitor(json.loads(line), peer)


def request(address: str, method: str, path: str, body: bytes | None = None) -> int:
    """One request to a Runtime API at `host:port/token`; its status."""
    host, _, token = address.partition("/")
    connection = http.client.HTTPConnection(host, timeout=LIMIT_S)
    try:
        connection.request(method, f"/{token}/2018-06-01/runtime/{path}", body)
        return connection.getresponse().status
    finally:
        connection.close()
