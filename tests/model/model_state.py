"""A state of the model: real records, each kept once and known by its number, so that states are small and equal fast.

Time is abstract: it stands still at `NOW_S`, and what has expired has expired at 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from contracts.records import RoundRecord, Run, Task, TaskKey
from contracts.settings import RunSettings
from model.abstract_work import DIGEST

RUN_ID = "r-model"
NOW_S = 1000.0


class Bounds(NamedTuple):
    """What is explored, completely.

    Args:
        faults: how many faults a path may have, of whichever `kinds`.
        rounds: of the run.
        from_round: all goes well before this round.
        backbone: whether the outputs of a frozen one are computed first.
    """

    faults: int
    kinds: frozenset[str]
    rounds: int = 2
    from_round: int = 0
    reconcilers: int = 2
    backbone: bool = False

    def settings(self) -> RunSettings:
        """Two workers, two slices, more attempts than faults: so no run may fail."""
        return RunSettings(
            recipe="abstract",
            recipe_digest="0",
            dataset="none",
            workers=2,
            batch_size=2,
            rounds=self.rounds,
            steps_per_round=2,
            validate_every_rounds=1,
            slices=2,
            backbone_digest=DIGEST if self.backbone else "",
            concurrency=2,
            in_flight_per_place=1,
            time_limit_s=10.0,
            max_attempts=self.faults + 1,
            max_cost_usd=1e6,
            deadline_s=1e9,
        )


class State(NamedTuple):
    """Everything at one moment; numbers stand for the items of `Tables`.

    `tasks` is that of a sorted tuple of tasks, `files` of a sorted tuple of (path, content). `messages` are under
    way, not delivered yet; `ended` are the engine's words that an invocation failed. `executions` hold a claim, or
    believe that they do. `reconcilers` hold the writes that they have decided on. `before` is the run as it was before
    its last change, for who has read it then.
    """

    run: int
    tasks: int
    files: int
    messages: tuple[int, ...]
    ended: tuple[int, ...]
    executions: tuple[int, ...]
    reconcilers: tuple[int, ...]
    faults_left: int
    before: int


class Running(NamedTuple):
    """An execution. `run` and `task` are as it claimed; `at` is how far it is: claimed → computed → written.

    `own` are the files that go again if its report is refused.
    """

    at: str
    run: int
    task: int
    nonce: str
    key: TaskKey
    attempt: int
    report: Any = None
    writes: tuple[tuple[str, str], ...] = ()
    own: tuple[str, ...] = ()


class WriteRun(NamedTuple):
    """A decided `SaveRun`; `tasks` are those that its reconciler saw and goes on with."""

    run: int
    record: RoundRecord | None
    tasks: int


class WriteTask(NamedTuple):
    """A decided `SaveTask`; with a message it is an offer, conditional on the stage."""

    task: int
    message: int | None
    stage: str | None


class Table[T]:
    """Each item once, with a number."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self._numbers: dict[Any, int] = {}
        self._encoder = msgspec.msgpack.Encoder()

    def number(self, item: T) -> int:
        """The number of the item."""
        key = self._encoder.encode(item)
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.items)
            self.items.append(item)
        return found

    def __getitem__(self, number: int) -> T:
        return self.items[number]

    def __len__(self) -> int:
        return len(self.items)


class Tables:
    """All items of an exploration."""

    def __init__(self) -> None:
        self.runs: Table[Run] = Table()
        self.tasks: Table[Task] = Table()
        self.task_sets: Table[tuple[int, ...]] = Table()
        self.file_sets: Table[tuple[tuple[str, str], ...]] = Table()
        self.messages: Table[Any] = Table()
        self.executions: Table[Running] = Table()
        self.plans: Table[tuple[Any, ...]] = Table()
        self._maps: dict[int, dict[TaskKey, Task]] = {}
        self._file_maps: dict[int, dict[str, str]] = {}
        self.possible: dict[tuple[int, int, int], int] = {}

    def task_map(self, number: int) -> Mapping[TaskKey, Task]:
        """The tasks of a set, by key; not to be changed."""
        found = self._maps.get(number)
        if found is None:
            tasks = [self.tasks[n] for n in self.task_sets[number]]
            found = self._maps[number] = {task.key: task for task in sorted(tasks, key=lambda task: str(task.key))}
        return found

    def task_set(self, tasks: Mapping[TaskKey, Task]) -> int:
        """The number of a set of tasks."""
        return self.task_sets.number(tuple(sorted(self.tasks.number(task) for task in tasks.values())))

    def file_map(self, number: int) -> dict[str, str]:
        """The files of a set: path → content; not to be changed."""
        found = self._file_maps.get(number)
        if found is None:
            found = self._file_maps[number] = dict(self.file_sets[number])
        return found

    def file_set(self, files: Mapping[str, str]) -> int:
        """The number of a set of files."""
        return self.file_sets.number(tuple(sorted(files.items())))


class StoreView:
    """Implements RunStore and Telemetry over one state, for one atomic step."""

    checks_versions = True
    """Of runs; a deliberate fault turns it off."""

    def __init__(self, run: Run, tasks: Mapping[TaskKey, Task]) -> None:
        self.run = run
        self.tasks = dict(tasks)

    def load_run(self, run_id: str) -> Run:
        return self.run

    def save_run(self, run: Run, record: RoundRecord | None = None) -> bool:
        if self.checks_versions and self.run.version != run.version - 1:
            return False
        self.run = run
        return True

    def load_task(self, run_id: str, key: TaskKey) -> Task | None:
        return self.tasks.get(key)

    def load_tasks(self, run_id: str, round_index: int, *, consistent: bool = True) -> dict[TaskKey, Task]:
        return {key: task for key, task in self.tasks.items() if key.round_index == round_index}

    def save_task(self, run_id: str, task: Task, *, stage: str | None = None) -> bool:
        if stage is not None and self.run.stage != stage:
            return False
        stored = self.tasks.get(task.key)
        if (stored.version if stored else 0) != task.version - 1:
            return False
        self.tasks[task.key] = task
        return True

    def save_tasks(self, run_id: str, tasks: Sequence[Task], *, stage: str) -> list[bool]:
        return [self.save_task(run_id, task, stage=stage) for task in tasks]

    def make_durable(self) -> None:
        return None

    def put_steps(self, run_id: str, batch: Any) -> None:
        return None

    def put_spans(self, run_id: str, batch: Any) -> None:
        return None
