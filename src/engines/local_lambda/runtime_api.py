"""The AWS Lambda Runtime API (version 2018-06-01), served on one loopback port.

Documented by AWS: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. That API names neither
the environment nor a password; here the address that a runtime is given ends in a random token, and runtimes
put their paths behind it. So the token tells which environment speaks, and keeps other users of the machine
from fetching work or posting results: they get 403.

Everything runs on the thread that runs the selector; nothing here blocks.
"""

from __future__ import annotations

import hashlib
import logging
import re
import selectors
import socket
from collections.abc import Mapping
from typing import Protocol

from engines.local_lambda.invocation import MAX_PAYLOAD_BYTES

LOG = logging.getLogger(__name__)

VERSION = "2018-06-01"
# awslambdaric puts up to 1 MiB of stack trace into one header of an error report.
MAX_HEAD_BYTES = 2**20 + 2**14
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n|$)", re.IGNORECASE)
TRANSFER_ENCODING = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
RECEIVE_BYTES = 2**18
MAX_STRANGERS = 64


class Runtime(Protocol):
    """One environment, as the API sees it."""

    def wants_work(self, connection: Connection) -> None:
        """Its runtime waits for an invocation: answer by `connection.send` when there is one."""

    def answers(self, request_id: str, body: bytes | None, *, raised: bool) -> bool:
        """It ended an invocation; `body` is None where it was too large. Returns whether it was its to end."""

    def cannot_start(self, body: bytes) -> None:
        """Its initialisation failed."""

    def hung_up(self, connection: Connection) -> None:
        """The connection closed."""


class RuntimeApi:
    """Listens on 127.0.0.1.

    Args:
        selector: all sockets register here, with a function of the event mask as their data.
        runtimes: `token_key` of each token → environment; looked up anew for each request.
    """

    def __init__(self, selector: selectors.BaseSelector, runtimes: Mapping[bytes, Runtime]) -> None:
        self.selector = selector
        self.runtimes = runtimes
        self._connections: dict[Connection, None] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Close all sockets."""
        self.selector.unregister(self._listener)
        self._listener.close()
        for connection in list(self._connections):
            connection.close()

    def runtime_of(self, token: str) -> Runtime | None:
        """Whose token it is."""
        return self.runtimes.get(token_key(token))

    def forget(self, connection: Connection) -> None:
        """A connection has closed."""
        self._connections.pop(connection, None)

    def _accept(self, _mask: int) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:  # gone again, or no descriptors left: the backlog keeps it
            return
        peer.setblocking(False)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[Connection(peer, self)] = None
        # Whoever never showed a token must not use up the descriptors.
        strangers = [connection for connection in self._connections if connection.runtime is None]
        if len(strangers) > MAX_STRANGERS:
            strangers[0].close()


class Connection:
    """One client's HTTP/1.1 connection, kept alive between requests."""

    def __init__(self, peer: socket.socket, api: RuntimeApi) -> None:
        self.runtime: Runtime | None = None
        self._api = api
        self._socket = peer
        self._open = True
        self._waits_to_send = False
        self._input = bytearray()
        self._output = bytearray()
        self._head: tuple[str, list[str]] | None = None
        self._body_bytes = 0
        self._skipped_bytes = 0
        api.selector.register(peer, selectors.EVENT_READ, self._ready)

    def send(self, status: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Queue one response and send as much as the socket takes."""
        if not self._open:
            return
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        self._output += head.encode("latin-1")
        self._output += body
        self._flush()

    def close(self) -> None:
        """Close it; its runtime is told."""
        if not self._open:
            return
        self._open = False
        self._api.selector.unregister(self._socket)
        self._socket.close()
        self._api.forget(self)
        if self.runtime is not None:
            self.runtime.hung_up(self)

    def _ready(self, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE:
                self._flush()
            if mask & selectors.EVENT_READ and self._open:
                self._receive()
        except Exception:
            LOG.exception("the Runtime API drops a connection")
            self.close()

    def _flush(self) -> None:
        try:
            while self._output:
                sent = self._socket.send(self._output)
                del self._output[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if bool(self._output) != self._waits_to_send:
            self._waits_to_send = bool(self._output)
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._output else 0)
            self._api.selector.modify(self._socket, events, self._ready)

    def _receive(self) -> None:
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._input += data
        while self._open and self._take_request():
            pass

    def _take_request(self) -> bool:
        """Handle one request if it is there as a whole; returns whether there was one."""
        if self._head is None and not self._take_head():
            return False
        if self._body_bytes > MAX_PAYLOAD_BYTES:  # thrown away as it comes, and refused once it is all here
            dropped = min(len(self._input), self._body_bytes - self._skipped_bytes)
            del self._input[:dropped]
            self._skipped_bytes += dropped
            if self._skipped_bytes < self._body_bytes:
                return False
            body = None
        else:
            if len(self._input) < self._body_bytes:
                return False
            body = bytes(self._input[: self._body_bytes])
            del self._input[: self._body_bytes]
        assert self._head is not None  # noqa: S101 - for the type checker
        method, path = self._head
        self._head, self._skipped_bytes = None, 0
        self._route(method, path, body)
        return True

    def _take_head(self) -> bool:
        end = self._input.find(b"\r\n\r\n")
        if end < 0:
            if len(self._input) > MAX_HEAD_BYTES:
                self._refuse("431 Request Header Fields Too Large")
            return False
        try:
            method, target, self._body_bytes = parse_head(bytes(self._input[:end]))
        except ValueError:
            self._refuse("400 Bad Request")
            return False
        del self._input[: end + 4]
        token, *path = target.lstrip("/").split("/")
        runtime = self._api.runtime_of(token)
        if runtime is None:
            self._refuse("403 Forbidden")
            return False
        self.runtime = runtime
        self._head = method, path
        return True

    def _refuse(self, status: str) -> None:
        self.send(status, b'{"errorType":"Refused"}', {"Connection": "close"})
        self.close()

    def _route(self, method: str, path: list[str], body: bytes | None) -> None:
        runtime = self.runtime
        assert runtime is not None  # noqa: S101 - for the type checker
        match method, path:
            case "GET", [version, "runtime", "invocation", "next"] if version == VERSION:
                runtime.wants_work(self)
            case "POST", [version, "runtime", "invocation", request_id, "response" | "error" as kind] if (
                version == VERSION
            ):
                accepted = runtime.answers(request_id, body, raised=kind == "error")
                if not accepted:
                    self.send("400 Bad Request", b'{"errorType":"InvalidRequestID"}')
                elif body is None:
                    self.send("413 Payload Too Large", b'{"errorType":"RequestEntityTooLarge"}')
                else:
                    self.send("202 Accepted", b'{"status":"OK"}')
            case "POST", [version, "runtime", "init", "error"] if version == VERSION:
                self.send("202 Accepted", b'{"status":"OK"}')
                runtime.cannot_start(body or b"")
            case _:
                self.send("404 Not Found", b'{"errorType":"NoSuchPath"}')


def token_key(token: str) -> bytes:
    """What a token is looked up by: how long that takes says nothing of how much of a guess is right."""
    return hashlib.sha256(token.encode("latin-1", "replace")).digest()


def parse_head(head: bytes) -> tuple[str, str, int]:
    """Method, target and body length of a request.

    Raises:
        ValueError: it is no HTTP request, or its body's length is not given plainly.
    """
    method, target, _version = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
    if TRANSFER_ENCODING.search(head):
        raise ValueError("a body in chunks")
    lengths = CONTENT_LENGTH.findall(head)
    if len(lengths) > 1 or (lengths and not lengths[0].isdigit()):
        raise ValueError(f"Content-Length {lengths}")
    return method, target, int(lengths[0]) if lengths else 0
