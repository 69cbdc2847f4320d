"""One state taken apart for one step, and put together again as the next one."""

from __future__ import annotations

from contracts.messages import TaskMessage
from contracts.records import Run, Task, TaskKey
from model.abstract_work import AbstractFiles, NewestVector
from model.model_state import NOW_S, RUN_ID, Bounds, Running, State, StoreView, Tables, WriteRun, WriteTask
from runs.services import Services
from runs.transfer import MeteredFiles


class Stopped:
    """Implements Clock and Randomness: time stands still, and the next nonce is known."""

    def __init__(self) -> None:
        self.next_nonce = ""

    def now(self) -> float:
        return NOW_S

    def nonce(self) -> str:
        return self.next_nonce

    def run_id(self) -> str:
        return RUN_ID


class Moment:
    """A state being changed by one atomic step."""

    def __init__(self, tables: Tables, bounds: Bounds, state: State) -> None:
        self.tables, self.bounds = tables, bounds
        self.store = StoreView(tables.runs[state.run], tables.task_map(state.tasks))
        self.files = AbstractFiles(tables.file_map(state.files))
        self.messages = list(state.messages)
        self.ended = list(state.ended)
        self.executions = list(state.executions)
        self.reconcilers = list(state.reconcilers)
        self.faults_left = state.faults_left
        self.before = state.before
        self.stopped = Stopped()
        self._began = state

    @property
    def run(self) -> Run:
        """As stored now."""
        return self.store.run

    def services(self) -> Services:
        """The ports of a use case that works in this moment."""
        return Services(
            self.store,
            self.store,
            MeteredFiles(self.files),
            None,  # type: ignore[arg-type] - messages are put under way by the step itself
            self.stopped,
            self.stopped,
            NewestVector(),  # type: ignore[arg-type]
        )

    def fresh_nonce(self, key: TaskKey, attempt: int) -> str:
        """The name of an execution: of its task and attempt. Only a broken protocol needs more than the first."""
        task = self.store.tasks.get(key)
        used = {record.nonce for record in task.history} if task else set()
        used |= {task.claim.nonce} if task and task.claim else set()
        used |= {self.tables.executions[number].nonce for number in self.executions}
        stem = f"{key.round_index}-{key.kind}{key.index}" + (f"-g{key.generation}" if key.generation else "")
        return next(name for i in range(99) if (name := f"{stem}-a{attempt}" + "x" * i) not in used)

    def send(self, message: TaskMessage) -> None:
        """Put a message under way."""
        self.messages.append(self.tables.messages.number(message))

    def alive(self, nonce: str) -> bool:
        """Whether the execution is still at work."""
        return any(self.tables.executions[number].nonce == nonce for number in self.executions)

    def put(self, running: Running) -> None:
        """Add an execution."""
        self.executions.append(self.tables.executions.number(running))

    def state(self) -> State:
        """The state now, without what cannot matter any more."""
        tables, began = self.tables, self._began
        run = began.run if self.run is tables.runs[began.run] else tables.runs.number(self.run)
        before = began.run if run != began.run else self.before
        if self.run.ended and "resume" not in self.bounds.kinds:
            # Nobody can claim or decide in an ended run: only what is at work goes on.
            self.messages, self.ended, self.reconcilers, self.faults_left = [], [], [], 0
        if not self.faults_left or "old look" not in self.bounds.kinds:
            before = -1
        same_tasks = self.store.tasks == tables.task_map(began.tasks)
        tasks = began.tasks if same_tasks else tables.task_set(self.store.tasks)
        same_files = self.files.contents == tables.file_map(began.files)
        plans = [self._possible(number, run, tasks) for number in self.reconcilers]
        return State(
            run=run,
            tasks=tasks,
            files=began.files if same_files else tables.file_set(self.files.contents),
            messages=tuple(sorted(self.messages)),
            ended=tuple(sorted(self.ended)),
            executions=tuple(sorted(self.executions)),
            reconcilers=tuple(sorted(number for number in plans if number >= 0)),
            faults_left=self.faults_left,
            before=before,
        )

    def _possible(self, number: int, run: int, tasks: int) -> int:
        """A plan without the writes that are refused for ever, as versions only grow; -1 where none is left."""
        known = self.tables.possible.get((number, run, tasks))
        if known is None:
            left = tuple(write for write in self.tables.plans[number] if self._is_possible(write))
            known = self.tables.possible[number, run, tasks] = self.tables.plans.number(left) if left else -1
        return known

    def _is_possible(self, write: WriteRun | WriteTask) -> bool:
        if not self.store.checks_versions:
            return True
        if isinstance(write, WriteRun):
            return self.tables.runs[write.run].version - 1 == self.run.version
        task: Task = self.tables.tasks[write.task]
        stored = self.store.tasks.get(task.key)
        if (stored.version if stored else 0) != task.version - 1:
            return False
        return write.stage is None or write.stage == self.run.stage or "resume" in self.bounds.kinds
