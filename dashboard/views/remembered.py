"""What was made a moment ago is not made again: a few results of costly views, for all sessions of a process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable


class Remembered[V]:
    """The results that were asked for last. Threads may share it: two may make the same, and none waits for another.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int = 8) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, V] = OrderedDict()

    def peek(self, name: Hashable) -> V | None:
        """The result of that name, whatever it was made of; None if there is none."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
            return self._kept.get(name)

    def put(self, name: Hashable, value: V) -> V:
        """Keep a result, and give it back."""
        with self._lock:
            self._kept[name] = value
            self._kept.move_to_end(name)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return value

    def get(self, name: Hashable, make: Callable[[], V]) -> V:
        """The result of that name, made where there is none."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        return self.put(name, make())
