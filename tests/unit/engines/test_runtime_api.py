"""The Runtime API's HTTP, without any process: sockets in, calls out."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Iterator

import pytest

from engines.local_lambda import runtime_api
from engines.local_lambda.runtime_api import Connection, RuntimeApi, token_key

LIMIT_S = 10.0
SECRET = "token"  # noqa: S105


class FakeRuntime:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def wants_work(self, connection: Connection) -> None:
        self.told.append("next")
        connection.send("200 OK", b"{}", {"Lambda-Runtime-Aws-Request-Id": "1"})

    def answers(self, request_id: str, body: bytes | None, *, raised: bool) -> bool:
        self.told.append((request_id, body, raised))
        return request_id == "1"

    def cannot_start(self, body: bytes) -> None:
        self.told.append(("init", body))

    def hung_up(self, connection: Connection) -> None:
        self.told.append("gone")


class Server:
    """An API that is served whenever a client waits."""

    def __init__(self) -> None:
        self.runtime = FakeRuntime()
        self.selector = selectors.DefaultSelector()
        self.api = RuntimeApi(self.selector, {token_key(SECRET): self.runtime})
        self.clients: list[socket.socket] = []

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.api.port))
        client.setblocking(False)
        self.clients.append(client)
        self.turn()
        return client

    def turn(self, wait_s: float = 0.05) -> None:
        for key, mask in self.selector.select(wait_s):
            key.data(mask)

    def exchange(self, client: socket.socket, *pieces: bytes) -> bytes:
        """Send, serve until there is an answer or the end, and return it."""
        for piece in pieces:
            rest = piece
            while rest:
                with contextlib.suppress(BlockingIOError):
                    rest = rest[client.send(rest) :]
                self.turn()
        for _ in range(int(LIMIT_S / 0.05)):
            try:
                return client.recv(65536)
            except BlockingIOError:
                self.turn()
        raise TimeoutError

    def close(self) -> None:
        self.api.close()
        self.selector.close()
        for client in self.clients:
            client.close()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


def post(path: str, body: bytes, secret: str = SECRET) -> bytes:
    return f"POST /{secret}/2018-06-01/runtime/{path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


NEXT = b"GET /token/2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n"


def test_requests_on_one_connection(server: Server) -> None:
    client = server.connect()
    assert server.exchange(client, NEXT).endswith(b"\r\nLambda-Runtime-Aws-Request-Id: 1\r\n\r\n{}")
    assert server.exchange(client, post("invocation/1/response", b"[]")).startswith(b"HTTP/1.1 202 ")
    assert server.exchange(client, post("invocation/1/error", b"{}")).startswith(b"HTTP/1.1 202 ")
    assert server.exchange(client, post("invocation/2/response", b"[]")).startswith(b"HTTP/1.1 400 ")
    assert server.exchange(client, post("init/error", b"{}")).startswith(b"HTTP/1.1 202 ")
    assert server.exchange(client, post("init/other", b"{}")).startswith(b"HTTP/1.1 404 ")
    client.close()
    server.turn()
    expected = ["next", ("1", b"[]", False), ("1", b"{}", True), ("2", b"[]", False), ("init", b"{}"), "gone"]
    assert server.runtime.told == expected


def test_request_in_single_bytes(server: Server) -> None:
    request = post("invocation/1/response", b'"abc"')
    answer = server.exchange(server.connect(), *(request[i : i + 1] for i in range(len(request))))
    assert answer.startswith(b"HTTP/1.1 202 ")
    assert server.runtime.told == [("1", b'"abc"', False)]


def test_two_requests_in_one_piece(server: Server) -> None:
    server.exchange(server.connect(), post("invocation/1/response", b"1") + NEXT)
    assert server.runtime.told == [("1", b"1", False), "next"]


@pytest.mark.parametrize("token", ["", "guess", "toke", "tokens", "token%00", "Token"])
def test_wrong_token(server: Server, token: str) -> None:
    client = server.connect()
    answer = server.exchange(client, post("invocation/1/response", b"1", token) + NEXT)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert server.exchange(client) == b""  # closed: what came behind it was not looked at
    assert server.runtime.told == []


@pytest.mark.parametrize("garbage", [b"\r\n\r\n", b"hello\r\n\r\n", b"\x16\x03\x01\xff\r\n\r\n"])
def test_garbage(server: Server, garbage: bytes) -> None:
    client = server.connect()
    assert server.exchange(client, garbage).startswith(b"HTTP/1.1 400 ")
    assert server.exchange(client) == b""


def test_endless_head(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_api, "MAX_HEAD_BYTES", 10_000)
    assert server.exchange(server.connect(), b"GET /" + b"x" * 20_000).startswith(b"HTTP/1.1 431 ")


def test_body_that_is_too_large(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_api, "MAX_PAYLOAD_BYTES", 1000)
    client = server.connect()
    assert server.exchange(client, post("invocation/1/response", b"x" * 1001)).startswith(b"HTTP/1.1 413 ")
    assert server.exchange(client, post("invocation/1/response", b"x" * 1000)).startswith(b"HTTP/1.1 202 ")
    assert server.runtime.told == [("1", None, False), ("1", b"x" * 1000, False)]


def test_strangers_cannot_use_up_the_descriptors(server: Server) -> None:
    friend = server.connect()
    server.exchange(friend, NEXT)
    strangers = [server.connect() for _ in range(runtime_api.MAX_STRANGERS + 5)]
    for stranger in strangers[:5]:
        assert server.exchange(stranger) == b""
    assert server.exchange(strangers[-1], NEXT).startswith(b"HTTP/1.1 200 ")
    assert server.exchange(friend, NEXT).startswith(b"HTTP/1.1 200 ")
