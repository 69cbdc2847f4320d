"""How often what goes wrong in a simulated world."""

from __future__ import annotations

from dataclasses import dataclass, replace

SWEEP_S = 21.0
SWEEPS = 0.004
"""Turns that begin another sweep beside what is at work."""

CALM_AFTER_TURNS = 600
"""Then nothing goes wrong any more, and the run must come to its end."""


@dataclass(frozen=True)
class Faults:
    """Probabilities: for messages and functions as they are; for single operations and turns, small shares of them."""

    crash: float = 0.01
    """At any operation."""

    freeze: float = 0.01
    double: float = 0.2
    """Of messages and of stream records; as `drop`."""

    drop: float = 0.1
    unheard: float = 0.3
    """Nobody learns that a function has ended."""

    tear: float = 0.05
    """A file that was not synchronised is damaged."""

    hurry: float = 0.2
    """A worker finds its time limit near, and pauses."""

    refuse: float = 0.05
    """An invocation is throttled."""

    linger: float = 0.0
    """Not killed at the time limit, and not waited for where it is frozen."""

    late: float = 0.0
    """A message comes seconds or minutes later."""

    busy: float = 0.0
    """The store raises, before a write or after it."""

    lose: float = 0.0
    """A conditional write is refused, though nothing speaks against it."""

    skew_s: float = 0.0
    """Each process's clock is off by up to so much."""

    power: float = 0.0
    """Everything stops; what was not synchronised is lost, the store's newest writes too."""

    cancel: float = 0.0
    stream: bool = False
    """A stack: each write wakes somebody to reconcile, while a sweep may be at it too."""

    burst: float = 1.0
    """Up to so many operations before another process goes on."""


NO_FAULTS = Faults(0, 0, 0, 0, 0, 0, 0, 0)


def calm(faults: Faults) -> Faults:
    """The same world, in which nothing goes wrong any more."""
    return replace(NO_FAULTS, stream=faults.stream, burst=faults.burst)
