"""The run store of a simulated world: every write is watched, may be refused, fail, lose its answer, or be undone."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from contracts.errors import StoreBusy
from contracts.records import RoundRecord, Run, Task, TaskKey
from fakes.memory_store import MemoryStore

Undo = Callable[[], None]


class SimulatedStore(MemoryStore):
    """Implements RunStore and Telemetry.

    Args:
        world: gives way at its hook, says whether a write fails, and is told of those that were done.
        through_json: whether values pass through JSON, as with every real store; it takes most of a schedule's time.
    """

    def __init__(self, world: Any, *, through_json: bool = True, undoes: bool = False) -> None:
        super().__init__(world.gives_way)
        self._world = world
        if not through_json:
            self._kept = lambda record: record
        self._by_round: dict[int, dict[TaskKey, Task]] = {}
        self._undo: list[Undo] | None = [] if undoes else None

    def load_run(self, run_id: str) -> Run:
        self._hook("before load_run")
        if self._world.store_fails:
            self._may_fail()
        return self.runs[run_id]

    def load_task(self, run_id: str, key: TaskKey) -> Task | None:
        self._hook("before load_task")
        if self._world.store_fails:
            self._may_fail()
        return self.tasks.get((run_id, key))

    def load_tasks(self, run_id: str, round_index: int, *, consistent: bool = True) -> dict[TaskKey, Task]:
        self._hook("before load_tasks")
        if self._world.store_fails:
            self._may_fail()
        return self.tasks_of(round_index).copy()

    def tasks_of(self, round_index: int) -> dict[TaskKey, Task]:
        """All tasks of a round, in order; not to be changed."""
        return self._by_round.get(round_index, {})

    def save_run(self, run: Run, record: RoundRecord | None = None) -> bool:
        self._hook("before save_run")
        if self._world.store_fails:
            self._may_fail()
        old = self.runs.get(run.run_id)
        if self._refuses() or old is None or not self._follows(old.version, run.version):
            return False
        self._world.watch.run_saved(old, run, record)
        self.runs[run.run_id] = self._kept(run)
        if record is not None:
            self.rounds[run.run_id, record.round_index] = self._kept(record)
        if self._undo is not None:
            self._undo.append(lambda: self._put_run(old, record))
        self._world.saved()
        if run.phase == "COMBINING" != old.phase:
            self._world.combining_begins()
        self._hook("after save_run")
        if self._world.store_fails:
            self._may_fail()
        return True

    def save_task(self, run_id: str, task: Task, *, stage: str | None = None) -> bool:
        self._hook("before save_task")
        if self._world.store_fails:
            self._may_fail()
        old = self.tasks.get((run_id, task.key))
        if self._refuses() or (stage is not None and not self._is_at(run_id, stage)):
            return False
        if not self._follows(old.version if old else 0, task.version):
            return False
        self._world.watch.task_saved(self.runs[run_id], old, task)
        self._put_task(run_id, task.key, self._kept(task))
        if self._undo is not None:
            self._undo.append(lambda: self._put_task(run_id, task.key, old))
        self._world.saved()
        (self._hook if task.claim is None else self._world.at_risk)("after save_task")
        if self._world.store_fails:
            self._may_fail()
        return True

    def save_tasks(self, run_id: str, tasks: Sequence[Task], *, stage: str) -> list[bool]:
        return [self.save_task(run_id, task, stage=stage) for task in tasks]

    def make_durable(self) -> None:
        self._hook("before make_durable")
        if self._undo is not None:
            self._undo.clear()

    def lose_power(self, chance: random.Random) -> None:
        """Forget some of the newest writes that nobody has made durable."""
        undo = self._undo or []
        for _ in range(chance.randrange(len(undo) + 1) if chance.random() < 0.7 else 0):
            undo.pop()()
        undo.clear()

    def _follows(self, stored: int, new: int) -> bool:
        return stored == new - 1

    def _is_at(self, run_id: str, stage: str) -> bool:
        return self.runs[run_id].stage == stage

    def _refuses(self) -> bool:
        return bool(self._world.store_fails and self._world.happens("lose"))

    def _may_fail(self) -> None:
        if self._world.happens("busy"):
            raise StoreBusy("simulated store", "it did not answer")

    def _put_run(self, run: Run, record: RoundRecord | None) -> None:
        self.runs[run.run_id] = run
        if record is not None:
            del self.rounds[run.run_id, record.round_index]

    def _put_task(self, run_id: str, key: TaskKey, task: Task | None) -> None:
        if task is None:
            del self.tasks[run_id, key]
            del self._by_round[key.round_index][key]
        else:
            self.tasks[run_id, key] = task
            found = self._by_round.setdefault(key.round_index, {})
            found[key] = task
            if task.version == 1:
                self._by_round[key.round_index] = dict(sorted(found.items()))
