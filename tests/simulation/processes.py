"""What runs in a simulated world, and the greenlets that carry it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import greenlet

from contracts.errors import LambdafitError
from contracts.messages import TaskMessage
from runs.services import Services
from simulation.violations import Crash
from training.vector_files import NewestVector


@dataclass(eq=False, slots=True)
class Process:
    """Something that runs: a function's execution, a reconcile, or somebody at the command line.

    `carrier` is None before it begins; `over` once it has returned, raised or crashed.
    """

    name: str
    work: Callable[[], Any]
    carrier: greenlet.greenlet | None = None
    over: bool = False
    deadline_s: float = float("inf")
    skew_s: float = 0.0
    frozen_until_s: float = 0.0
    lingers: bool = False
    message: TaskMessage | None = None
    request_id: str = ""
    environment: Services | None = None
    nonce: str = ""
    allowed: frozenset[str] = frozenset()
    read: set[str] = field(default_factory=set)
    wrong: str = ""
    late_view: str = ""
    failed: bool = False
    error: LambdafitError | None = None
    claimed_turn: int = 0


class Carriers:
    """Greenlets, used again and again: a new one takes as long as ten operations of what it carries."""

    def __init__(self, main: greenlet.greenlet) -> None:
        self.main = main
        self._idle: list[greenlet.greenlet] = []

    def go_on(self, process: Process) -> None:
        """Run the process until it gives way to `main`, or is over."""
        if process.carrier is not None:
            process.carrier.switch()
            return
        process.carrier = self._idle.pop() if self._idle else greenlet.greenlet(self._carry)
        process.carrier.switch(process)

    def crash(self, process: Process) -> None:
        """The process is gone, wherever it was."""
        if process.carrier is not None and not process.over:
            process.carrier.throw(Crash)

    def _carry(self, process: Process) -> None:
        while True:
            try:
                process.work()
            except Crash:
                pass
            except LambdafitError as error:  # as a function that raised, or a command that was refused
                process.failed, process.error = True, error
            process.over = True
            self._idle.append(greenlet.getcurrent())
            process = self.main.switch()


carriers = cache(Carriers)
"""Those of a thread, for one world after the other."""


def new_environment(services: Services) -> Services:
    """A new environment: nothing in it is warm."""
    ports = (services.store, services.telemetry, services.files, services.invoker, services.clock, services.randomness)
    return Services(*ports, newest_parameters=NewestVector())
