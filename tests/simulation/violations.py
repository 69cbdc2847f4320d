"""What a simulated world raises where a promise is broken."""

from __future__ import annotations


class Violation(BaseException):
    """An invariant does not hold. Not an Exception: no code under test may catch it.

    Args:
        invariant: its name, as the table of deliberate faults shows it.
        what: what was found.
    """

    def __init__(self, invariant: str, what: str) -> None:
        self.invariant = invariant
        super().__init__(f"{invariant}: {what}")


class Crash(BaseException):
    """The process is gone, just here. Not an Exception: nothing in the code may catch it."""
