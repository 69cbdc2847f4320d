"""The Runtime API on loopback, spoken to by somebody who has not the secret."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from typing import Any

from engines.local_lambda.runtime_api import Connection
from security.mutations import mutated
from security.target import Target, Work


class OneRuntime:
    """Implements `runtime_api.Runtime`: counts what reaches it."""

    def __init__(self) -> None:
        self.told = 0

    def wants_work(self, connection: Connection) -> None:
        self.told += 1
        connection.send("200 OK", b"{}")

    def answers(self, request_id: str, body: bytes | None, *, raised: bool) -> bool:
        self.told += 1
        return True

    def cannot_start(self, body: bytes) -> None:
        self.told += 1

    def hung_up(self, connection: Connection) -> None:
        pass


SECRET = "5ec2e7" * 5 + "ab"
REQUESTS = (
    b"GET /5/2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /5/2018-06-01/runtime/invocation/x/response HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /5/2018-06-01/runtime/init/error HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
)


class SilentApi:
    """As much of `RuntimeApi` as a connection needs, without a port."""

    def __init__(self, runtime: OneRuntime) -> None:
        self.selector = selectors.DefaultSelector()
        self._runtime = runtime

    def runtime_of(self, token: str) -> OneRuntime | None:
        from engines.local_lambda.runtime_api import RuntimeApi, token_key

        self.runtimes = {token_key(SECRET): self._runtime}
        found: OneRuntime | None = RuntimeApi.runtime_of(self, token)  # type: ignore[arg-type,assignment]
        return found

    def forget(self, connection: Connection) -> None:
        pass


def _runtime_api(_work: Work) -> Callable[[bytes], Any]:
    def read(content: bytes) -> str:
        runtime = OneRuntime()
        ours, theirs = socket.socketpair()
        try:
            ours.setblocking(False)
            theirs.setblocking(False)
            api = SilentApi(runtime)
            connection = Connection(ours, api)  # type: ignore[arg-type]
            theirs.send(content[: 1 << 16])
            connection._ready(selectors.EVENT_READ)
            connection.close()
        finally:
            theirs.close()
            ours.close()
            api.selector.close()
        if runtime.told:
            raise AssertionError("a request without the secret reached a function")
        return "refused"

    return read


TARGETS = (Target("Runtime API without the secret", _runtime_api, REQUESTS, mutated, 2),)
