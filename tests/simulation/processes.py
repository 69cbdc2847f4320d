"""What runs in a simulated world."""

from __future__ import annotations

from dataclasses import dataclass, field

import greenlet

from contracts.errors import LambdafitError
from contracts.messages import TaskMessage
from runs.services import Services
from training.vector_files import NewestVector


@dataclass(eq=False, slots=True)
class Process:
    """Something that runs: a function's execution, a reconcile, or somebody at the command line."""

    name: str
    greenlet: greenlet.greenlet
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
    failed: bool = False
    error: LambdafitError | None = None
    claimed_turn: int = 0


def new_environment(services: Services) -> Services:
    """A new environment: nothing in it is warm."""
    ports = (services.store, services.telemetry, services.files, services.invoker, services.clock, services.randomness)
    return Services(*ports, newest_parameters=NewestVector())
