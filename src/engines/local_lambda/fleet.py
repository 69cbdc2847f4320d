"""One function with all that belongs to it."""

from __future__ import annotations

import collections
import itertools

from engines.local_lambda.environment import Environment
from engines.local_lambda.invocation import Function, Pending


class Fleet:
    """One function with its queue and its environments; `idle` ends with the most recently used."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.queue: collections.deque[Pending] = collections.deque()
        self.live: list[Environment] = []
        self.idle: list[Environment] = []
        self.last_used: dict[str, Environment] = {}
        self.numbers = itertools.count(1)

    def take_idle(self, affinity: str) -> Environment:
        """The idle environment that served this affinity last.

        Else the most recently used: without an affinity of all, with one rather of those that are nobody's.
        """
        chosen = self.last_used.get(affinity)
        if chosen is None or chosen not in self.idle:
            taken = self.last_used.values() if affinity else ()
            chosen = ([one for one in self.idle if one not in taken] or self.idle)[-1]
        self.idle.remove(chosen)
        if affinity:
            self.last_used[affinity] = chosen
        return chosen

    def forget(self, environment: Environment) -> None:
        """It is gone."""
        self.live.remove(environment)
        self.last_used = {key: other for key, other in self.last_used.items() if other is not environment}
