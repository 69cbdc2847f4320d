"""Every atomic step from a state: real use cases, cut where a crash or somebody else can come between.

A claim, and a report, is one step: each is a read and a conditional write that is tried again, so it has one effect at
one moment. An offer and its message are one step too: a message that is not sent yet cannot be told from one that is
under way. Reading and computing, writing files, and reporting are three; so are reading the run, deciding, and each of
the writes decided on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from msgspec.structs import replace

from contracts.errors import InvocationFailed, LambdafitError, Refused
from contracts.messages import TaskMessage
from contracts.records import Run, Task
from model.abstract_work import DATA_FACTS, TORN, AbstractTrainer, working
from model.model_checks import Checks
from model.model_moment import Moment
from model.model_state import RUN_ID, Bounds, Running, State, Tables, WriteRun, WriteTask
from runs import combine, control, decide, execute, extract, prepare, reconcile, stages, train
from runs.code_version import code_version

EXPIRED = 0.0


class Step(NamedTuple):
    """One edge. `fault` is its kind, empty where nothing went wrong."""

    name: str
    fault: str
    state: State


class Hurry:
    """The deadline port: time for one step of training, or for all."""

    def __init__(self, hurried: bool) -> None:
        self._answers = iter([1e9]) if hurried else None

    def remaining_s(self) -> float:
        return 1e9 if self._answers is None else next(self._answers, 0.0)


class Steps:
    """The edges of the model's graph."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.tables = Tables()
        self.checks = Checks(self.tables, bounds)
        self._plans: dict[tuple[int, int], tuple[Any, ...]] = {}
        self._computed: dict[tuple[Any, ...], tuple[int, Any]] = {}
        trainer = AbstractTrainer()
        self._work: dict[str, execute.Work] = {
            "prepare": partial(prepare.prepare, prepare_data=lambda run: dict(DATA_FACTS)),
            "extract": lambda execution: extract.extract(execution, trainer),  # type: ignore[arg-type]
            "initialise": lambda execution: train.initialise(execution, trainer),  # type: ignore[arg-type]
            "train": lambda execution: train.train(execution, trainer),  # type: ignore[arg-type]
            "evaluate": lambda execution: train.evaluate(execution, trainer),  # type: ignore[arg-type]
            "combine": lambda execution: combine.combine(execution),
            "clear": lambda execution: combine.clear(execution),
        }

    def first(self) -> State:
        """A run that somebody has just asked for."""
        settings = self.bounds.settings()
        run = Run(run_id=RUN_ID, settings=settings, code_version=code_version(), created_at=1.0, deadline_at=1e12)
        nothing = self.tables.task_set({})
        return State(
            self.tables.runs.number(run), nothing, self.tables.file_set({}), (), (), (), (), self.bounds.faults, -1
        )

    def after(self, state: State) -> Iterator[Step]:
        """Every step from here, each with the state that follows."""
        yield from self._deliveries(state)
        yield from self._executing(state)
        yield from self._reconciling(state)
        yield from self._expiries(state)
        yield from self._damage(state)

    def _moment(self, state: State, fault: str = "") -> Moment | None:
        """The state to change, one fault poorer if this is one; None where the bounds do not have it."""
        if fault and (not state.faults_left or fault not in self.bounds.kinds):
            return None
        if fault and self.tables.runs[state.run].round_index < self.bounds.from_round:
            return None
        moment = Moment(self.tables, self.bounds, state)
        moment.faults_left -= bool(fault)
        return moment

    def _done(self, before: State, moment: Moment, name: str, fault: str = "") -> Step:
        after = moment.state()
        self.checks.step(before, after)
        return Step(name, fault, after)

    # --- messages ---

    def _deliveries(self, state: State) -> Iterator[Step]:
        for number in sorted(set(state.messages)):
            message: TaskMessage = self.tables.messages[number]
            for fault in ("", "double"):
                if (moment := self._moment(state, fault)) is None:
                    continue
                if not fault:
                    moment.messages.remove(number)
                self._claim(moment, message)
                yield self._done(state, moment, f"deliver {message.key}@{message.attempt}", fault)
            for heard in (False, True):
                if (moment := self._moment(state, "lose")) is not None:
                    moment.messages.remove(number)
                    if heard:
                        self._hear(moment, message, "never began")
                    yield self._done(state, moment, f"lose {message.key}@{message.attempt}, heard: {heard}", "lose")
        for number in sorted(set(state.ended)):
            moment = Moment(self.tables, self.bounds, state)
            moment.ended.remove(number)
            services = moment.services()
            word = reconcile.EndedInvocation(*self.tables.messages[number])
            reconcile._note_end(services, reconcile.load_state(services, RUN_ID), word)
            yield self._done(state, moment, f"hear that {word.message.key}@{word.message.attempt} failed")

    def _hear(self, moment: Moment, message: TaskMessage, request_id: str) -> None:
        error = InvocationFailed(str(message.key), "crashed").record()
        moment.ended.append(self.tables.messages.number((message, request_id, error)))

    def _claim(self, moment: Moment, message: TaskMessage) -> None:
        nonce = moment.stopped.next_nonce = moment.fresh_nonce(message.key, message.attempt)
        try:
            claimed = execute._claim(message, moment.services(), Hurry(False), f"of {nonce}")
        except Refused:
            return
        self.checks.claim(moment.run, claimed)
        run, task = self.tables.runs.number(claimed.run), self.tables.tasks.number(claimed.task)
        moment.put(Running("claimed", run, task, nonce, message.key, claimed.attempt))

    # --- executions ---

    def _executing(self, state: State) -> Iterator[Step]:
        for number in sorted(set(state.executions)):
            running = self.tables.executions[number]
            name = f"{running.nonce} {running.at}"
            steps: list[tuple[str, str, Callable[[Moment], None]]] = [
                ("goes on", "", partial(self._go_on, state=state, number=number, hurried=False)),
                ("crashes", "crash", lambda moment: None),
                ("crashes, heard", "crash", partial(self._heard_crash, running=running)),
            ]
            if running.at == "claimed" and running.key.kind in ("train", "extract"):
                steps.append(
                    ("goes on, in a hurry", "pause", partial(self._go_on, state=state, number=number, hurried=True))
                )
            for what, fault, change in steps:
                if (moment := self._moment(state, fault)) is not None:
                    moment.executions.remove(number)
                    change(moment)
                    yield self._done(state, moment, f"{name} {what}", fault)

    def _heard_crash(self, moment: Moment, running: Running) -> None:
        message = TaskMessage(run_id=RUN_ID, key=running.key, attempt=running.attempt)
        self._hear(moment, message, f"of {running.nonce}")

    def _go_on(self, moment: Moment, state: State, number: int, hurried: bool) -> None:
        running = self.tables.executions[number]
        if running.at == "claimed":
            same = (number, hurried, state.run, state.tasks, state.files)
            if same not in self._computed:
                self._computed[same] = self._compute(moment, running, hurried)
            later, moment.files.contents = self._computed[same]
            moment.executions += [later] if later >= 0 else []
        elif running.at == "computed":
            moment.files.contents = moment.files.contents | dict(running.writes)
            moment.put(running._replace(at="written"))
        else:
            self._submit(self._execution(moment, running, hurried), running.report)

    def _execution(self, moment: Moment, running: Running, hurried: bool) -> execute.Execution:
        run, task, nonce = self.tables.runs[running.run], self.tables.tasks[running.task], running.nonce
        attempt, own, services = running.attempt, list(running.own), moment.services()
        return execute.Execution(services, Hurry(hurried), run, task, nonce, f"of {nonce}", attempt, written=own)

    def _compute(self, moment: Moment, running: Running, hurried: bool) -> tuple[int, dict[str, str]]:
        """The execution with its report and what it is about to write, or -1; and the files as they then are."""
        execution = self._execution(moment, running, hurried)
        working(execution)
        try:
            report = execute._done(execution, self._work[running.key.kind])
        except Refused:
            return -1, moment.files.contents
        report = replace(report, spans=())
        self.checks.computed(moment, execution, report)
        writes = tuple(sorted(moment.files.written.items()))
        # From here on only its own report matters: neither the run nor the task as they were.
        task, own = self.tables.tasks.number(Task(key=running.key)), tuple(execution.written)
        later = running._replace(task=task, run=0, report=report, writes=writes, own=own)
        number = self.tables.executions.number(later._replace(at="computed" if writes else "written"))
        return number, moment.files.contents

    def _submit(self, execution: execute.Execution, report: Any) -> None:
        try:
            execute.submit(execution, report)
        except Refused:
            execute._discard(execution)

    # --- reconcilers ---

    def _reconciling(self, state: State) -> Iterator[Step]:
        if len(state.reconcilers) < self.bounds.reconcilers:
            if plan := self._plan(state.run, state.tasks):
                yield from self._with_plan(state, plan, "somebody looks and decides", "")
            if state.before >= 0 and (plan := self._plan(state.before, state.tasks)):
                yield from self._with_plan(state, plan, "somebody with an old run decides", "old look")
        for number in sorted(set(state.reconcilers)):
            first, *rest = self.tables.plans[number]
            moment = Moment(self.tables, self.bounds, state)
            moment.reconcilers.remove(number)
            follow = self._carry_out(moment, first)
            if plan := follow if isinstance(first, WriteRun) else tuple(rest):
                moment.reconcilers.append(self.tables.plans.number(plan))
            yield self._done(state, moment, f"a reconciler writes {self._words(first)}")
            if (crashed := self._moment(state, "crash")) is not None:
                crashed.reconcilers.remove(number)
                yield self._done(state, crashed, "a reconciler crashes", "crash")

    def _with_plan(self, state: State, plan: tuple[Any, ...], name: str, fault: str) -> Iterator[Step]:
        if (moment := self._moment(state, fault)) is not None:
            moment.reconcilers.append(self.tables.plans.number(plan))
            yield self._done(state, moment, name, fault)

    def _plan(self, run_number: int, tasks_number: int) -> tuple[Any, ...]:
        """What who has read this run and then these tasks decides on, as `reconcile.load_state` reads them."""
        known = self._plans.get((run_number, tasks_number))
        if known is None:
            run, tasks = self.tables.runs[run_number], self.tables.task_map(tasks_number)
            known = self._plans[run_number, tasks_number] = self._decided(run, stages.visible_tasks(run, tasks))
        return known

    def _decided(self, run: Run, tasks: dict[Any, Task]) -> tuple[Any, ...]:
        actions: Sequence[decide.Action] = decide.decide(decide.RunState(run, tasks), 1000.0)
        plan: list[Any] = []
        for action in actions:
            if isinstance(action, decide.SaveRun):
                plan.append(WriteRun(self.tables.runs.number(action.run), action.record, self.tables.task_set(tasks)))
            else:
                message = None if action.message is None else self.tables.messages.number(action.message)
                stage = None if action.message is None else run.stage
                plan.append(WriteTask(self.tables.tasks.number(action.task), message, stage))
        return tuple(plan)

    def _carry_out(self, moment: Moment, write: WriteRun | WriteTask) -> tuple[Any, ...]:
        """The write, and what its reconciler goes on with if it has saved the run."""
        if isinstance(write, WriteTask):
            saved = moment.store.save_task(RUN_ID, self.tables.tasks[write.task], stage=write.stage)
            if saved and write.message is not None:
                moment.send(self.tables.messages[write.message])
            return ()
        run = self.tables.runs[write.run]
        if not moment.store.save_run(run, write.record):
            return ()
        self.checks.saved_run(moment, self.tables.runs[moment._began.run], run, write.record)
        if write.tasks < 0:
            return ()
        return self._decided(run, stages.visible_tasks(run, self.tables.task_map(write.tasks)))

    def _words(self, write: WriteRun | WriteTask) -> str:
        if isinstance(write, WriteRun):
            run = self.tables.runs[write.run]
            return f"{run.stage} (version {run.version})"
        task = self.tables.tasks[write.task]
        return f"{task.key} {task.status}@{task.attempt} (version {task.version})"

    # --- time, damage, people ---

    def _expiries(self, state: State) -> Iterator[Step]:
        """Offers and claims run out: freely where nothing comes of them any more, else as a fault."""
        run = self.tables.runs[state.run]
        if run.ended:
            return
        under_way = {(m.key, m.attempt) for m in (self.tables.messages[number] for number in state.messages)}
        alive = {self.tables.executions[number].nonce for number in state.executions}
        for key, task in stages.visible_tasks(run, self.tables.task_map(state.tasks)).items():
            if task.status == "OFFERED" and task.offer_expires_at != EXPIRED:
                fault = "slow message" if (key, task.attempt) in under_way else ""
                yield from self._expired(state, replace(task, offer_expires_at=EXPIRED), f"offer of {key}", fault)
            if task.claim is not None and task.claim.expires_at != EXPIRED:
                fault = "slow execution" if task.claim.nonce in alive else ""
                late = replace(task, claim=replace(task.claim, expires_at=EXPIRED))
                yield from self._expired(state, late, f"claim of {task.claim.nonce}", fault)

    def _expired(self, state: State, task: Task, what: str, fault: str) -> Iterator[Step]:
        if (moment := self._moment(state, fault)) is not None:
            moment.store.tasks[task.key] = task
            yield self._done(state, moment, f"{what} expires", fault)

    def _damage(self, state: State) -> Iterator[Step]:
        run = self.tables.runs[state.run]
        if run.ended:
            yield from self._resumed(state)
            return
        if run.phase == "COMBINING":
            for path, content in self.tables.file_sets[state.files]:
                if f"/updates/{run.round_index:06d}/" in path and content != TORN:
                    if (moment := self._moment(state, "tear")) is None:
                        break
                    moment.files.contents = moment.files.contents | {path: TORN}
                    yield self._done(state, moment, f"torn: {path}", "tear")
        if (moment := self._moment(state, "cancel")) is not None:
            control.cancel(moment.services(), RUN_ID)
            yield self._done(state, moment, "cancelled", "cancel")

    def _resumed(self, state: State) -> Iterator[Step]:
        run = self.tables.runs[state.run]
        if run.status != "CANCELLED" or len(state.reconcilers) >= self.bounds.reconcilers:
            return
        if (moment := self._moment(state, "resume")) is None:
            return
        plan = _writes_of_resume(moment, self.tables)
        moment.reconcilers.append(self.tables.plans.number(plan))
        yield self._done(state, moment, "somebody begins to resume", "resume")


def _writes_of_resume(moment: Moment, tables: Tables) -> tuple[Any, ...]:
    """What `control.resume` writes, in its order; each is carried out as a step of its own."""
    writes: list[Any] = []
    store = moment.store

    def save_task(run_id: str, task: Task, *, stage: str | None = None) -> bool:
        writes.append(WriteTask(tables.tasks.number(task), None, stage))
        return True

    def save_run(run: Run, record: Any = None) -> bool:
        writes.append(WriteRun(tables.runs.number(run), None, -1))
        return True

    store.save_task, store.save_run = save_task, save_run  # type: ignore[method-assign, assignment]
    try:
        control.resume(moment.services(), RUN_ID, {}, engine_was_lost=False)
    except LambdafitError as error:
        raise AssertionError("a cancelled run can go on") from error
    finally:
        del store.save_task, store.save_run
    return tuple(writes)
