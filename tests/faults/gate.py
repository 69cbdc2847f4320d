"""The gate: where a run's processes say what they are about to do, and wait until they are let through.

So a fault strikes at an event ("when the third report is about to be saved"), never after a sleep. One TCP connection
on loopback a process; one line of JSON a visit, one line with a word as the answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
from dataclasses import dataclass, field
from typing import Any, Self

QUIET_S = 0.25
"""Nothing having come for so long, the run waits for what a fault holds up."""


@dataclass(eq=False)
class Visit:
    """A process at the gate.

    Args:
        point: what it is about to do, or has just done: see `hooks`.
        role: `conductor` or `worker`.
        pid: its process.
        kind, index, round_index, generation, attempt: of its task, where it has one.
        path: of the file that it is writing.
        spare: whether it overwrites a removed file.
    """

    point: str
    role: str
    pid: int
    peer: socket.socket = field(repr=False)
    kind: str = ""
    index: int = 0
    round_index: int = 0
    generation: int = 0
    attempt: int = 0
    path: str = ""
    spare: bool = False
    answered: bool = False

    @property
    def task(self) -> tuple[str, int, int, int]:
        """Which task."""
        return self.kind, self.index, self.round_index, self.generation

    def answer(self, word: str = "") -> None:
        """Let it through, with a word for it. It may be dead: then nobody hears it."""
        self.answered = True
        with contextlib.suppress(OSError):
            self.peer.sendall(word.encode() + b"\n")


class Gate:
    """Serves on loopback; a context manager. One thread: whoever asks for the next visit."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._partial: dict[socket.socket, bytes] = {}
        self._waiting: list[Visit] = []
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for peer in (*self._partial, self._listener):
            peer.close()
        self._selector.close()

    def next(self, pid: int, patience_s: float = QUIET_S) -> Visit | int | None:
        """The next visit; `pid` once that process has exited; None where nothing came in time."""
        exited = os.pidfd_open(pid)
        try:
            self._selector.register(exited, selectors.EVENT_READ)
            while not self._waiting:
                ready = [key.fileobj for key, _ in self._selector.select(patience_s)]
                if not ready:
                    return None
                for one in ready:
                    if isinstance(one, socket.socket):
                        self._receive(one)
                if ready == [exited]:
                    return pid
            return self._waiting.pop(0)
        finally:
            self._selector.unregister(exited)
            os.close(exited)

    def _receive(self, one: socket.socket) -> None:
        if one is self._listener:
            peer, _ = one.accept()
            self._partial[peer] = b""
            self._selector.register(peer, selectors.EVENT_READ)
            return
        try:
            data = one.recv(65_536)
        except OSError:
            data = b""
        if not data:  # it is gone
            self._selector.unregister(one)
            del self._partial[one]
            one.close()
            return
        *lines, self._partial[one] = (self._partial[one] + data).split(b"\n")
        for line in lines:
            facts: dict[str, Any] = json.loads(line)
            self._waiting.append(Visit(peer=one, **facts))
