"""Breadth-first over all states within the bounds, then backwards from the ends."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from dataclasses import dataclass, field

from model.model_checks import Violation
from model.model_state import Bounds, State
from model.model_steps import Steps


@dataclass
class Explored:
    """A whole graph, or one up to a violation."""

    bounds: Bounds
    states: int = 0
    transitions: int = 0
    depth: int = 0
    complete: bool = False
    finished: int = 0
    cancelled: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    stuck: list[str] = field(default_factory=list)
    violation: str = ""
    trace: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        kinds = ", ".join(sorted(self.bounds.kinds)) or "none"
        whole = "complete" if self.complete else "NOT complete"
        return (
            f"{self.states:,} states, {self.transitions:,} transitions, depth {self.depth}, {whole}, "
            f"{self.seconds:.1f} s of processor time; up to {self.bounds.faults} of: {kinds}"
        )


class Search:
    """One exploration."""

    def __init__(self, bounds: Bounds) -> None:
        self.steps = Steps(bounds)
        self.found = Explored(bounds)
        self._numbers: dict[State, int] = {}
        self._states: list[State] = []
        self._parents = array("l")
        self._names: list[str] = []
        self._words: dict[str, str] = {}
        self._sources, self._targets = array("l"), array("l")

    def run(self, max_states: int = 10**9) -> Explored:
        """Explore until nothing is new, something is broken, or `max_states` are known."""
        began_s = time.process_time()
        try:
            self._explore(max_states)
        except Violation as violation:
            self.found.violation = str(violation)
        self.found.states, self.found.seconds = len(self._states), time.process_time() - began_s
        if self.found.complete:
            self._look_back()
        self.found.seconds = time.process_time() - began_s
        return self.found

    def _explore(self, max_states: int) -> None:
        found = self.found
        self._add(self.steps.first(), -1, "a run is asked for")
        begins, depth = 0, 0
        while begins < len(self._states) <= max_states:
            level, begins = range(begins, len(self._states)), len(self._states)
            for number in level:
                try:
                    self._expand(number)
                except Violation:
                    found.trace = [*self._path(number), "and then the next step"]
                    raise
            depth += 1
        found.depth = depth - 1
        found.complete = begins == len(self._states)

    def _expand(self, number: int) -> None:
        state = self._states[number]
        for step in self.steps.after(state):
            target = self._numbers.get(step.state)
            if target is None:
                target = self._add(step.state, number, step.name)
            self.found.transitions += 1
            if step.fault:
                self.found.faults[step.fault] += 1
            else:
                self._sources.append(number)
                self._targets.append(target)

    def _add(self, state: State, parent: int, name: str) -> int:
        number = self._numbers[state] = len(self._states)
        self._states.append(state)
        self._parents.append(parent)
        self._names.append(self._words.setdefault(name, name))
        run = self.steps.tables.runs[state.run]
        self.found.stages[f"{run.status}/{run.phase}/{run.round_index}/{run.generation}"] += 1
        return number

    def _path(self, number: int) -> list[str]:
        path = []
        while number >= 0:
            path.append(self._names[number])
            number = self._parents[number]
        return path[::-1]

    def _look_back(self) -> None:
        """From every state a finished or cancelled run must be reached without any further fault."""
        came_from: list[list[int]] = [[] for _ in self._states]
        for source, target in zip(self._sources, self._targets, strict=True):
            came_from[target].append(source)
        good = bytearray(len(self._states))
        queue = []
        for number, state in enumerate(self._states):
            status = self.steps.tables.runs[state.run].status
            self.found.finished += status == "FINISHED"
            self.found.cancelled += status == "CANCELLED"
            if status in ("FINISHED", "CANCELLED"):
                good[number] = True
                queue.append(number)
        while queue:
            for source in came_from[queue.pop()]:
                if not good[source]:
                    good[source] = True
                    queue.append(source)
        lost = next((number for number in range(len(good)) if not good[number]), None)
        if lost is not None:
            self.found.violation = f"{good.count(0)} states from which the run never ends"
            self.found.trace = self._path(lost)
