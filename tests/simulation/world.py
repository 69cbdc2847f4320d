"""One run in a simulated world: everything that could happen to it, driven by one seed.

Every handler and every reconcile is a greenlet that gives way before and after each of its reads and writes. The
world then picks who goes on, lets time pass, delivers, doubles or drops messages, freezes processes past their
lease, crashes them, damages files that were never synchronised, and overwrites removed ones under a late reader. The
use cases, the protocol and the maths are the real ones; only training is replaced, by arithmetic in which every
mistake shows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import greenlet

from contracts.errors import InvocationFailed, LambdafitError
from contracts.messages import parse_task
from contracts.records import Run
from contracts.settings import OuterSettings, RunSettings
from fakes.arithmetic_trainer import ArithmeticTrainer
from fakes.memory_files import MemoryFiles
from fakes.memory_store import MemoryStore
from runs.code_version import code_version
from runs.combine import clear, combine
from runs.execute import execute
from runs.prepare import prepare
from runs.reconcile import EndedInvocation, reconcile
from runs.services import Services
from runs.train import evaluate, initialise, train

RUN_ID = "r-simulated"
LIMIT_S = 10.0


class Crash(BaseException):
    """The process is gone, just here. Not an Exception: nothing in the code may catch it."""


@dataclass(frozen=True)
class Faults:
    """How often what goes wrong, as probabilities."""

    crash: float = 0.01
    freeze: float = 0.01
    double: float = 0.2
    drop: float = 0.1
    unheard: float = 0.3
    tear: float = 0.05
    hurry: float = 0.2
    refuse: float = 0.05
    linger: float = 0.0
    """Not killed at the time limit, and not waited for where it is frozen."""


NO_FAULTS = Faults(0, 0, 0, 0, 0, 0, 0, 0)


@dataclass
class Process:
    """Something that runs: a function's execution or a reconcile."""

    name: str
    greenlet: greenlet.greenlet
    deadline_s: float
    frozen_until_s: float = 0.0
    lingers: bool = False
    event: Mapping[str, Any] | None = None
    request_id: str = ""


@dataclass
class World:
    """The simulated store, files, clock, invoker and processes of one run."""

    seed: int
    settings: RunSettings
    faults: Faults
    data_facts: Mapping[str, int] = field(default_factory=lambda: {"train_examples": 37, "val_examples": 5})
    now_s: float = 1_000_000.0
    trace: list[str] = field(default_factory=list)
    keep_spares: bool = False

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.store = MemoryStore(self._give_way)
        self.files = MemoryFiles(self._give_way, keep_spares=self.keep_spares)
        self.trainer = ArithmeticTrainer()
        self.services = Services(self.store, self.store, self.files, self, self, self)
        self.processes: list[Process] = []
        self.messages: list[tuple[str, Mapping[str, Any]]] = []
        self.current: Process | None = None
        self.claims_after_end: list[str] = []
        self.torn: list[str] = []
        self._names = 0

    # --- ports: clock, randomness, invoker ---

    def now(self) -> float:
        return self.now_s

    def nonce(self) -> str:
        return f"{self.random.getrandbits(64):016x}"

    def run_id(self) -> str:
        return RUN_ID

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        self._give_way("before invoke")
        if self.random.random() < self.faults.refuse:
            raise InvocationFailed(function, "throttled")
        if self.random.random() >= self.faults.drop:
            self.messages.append((function, event))
        if self.random.random() < self.faults.double:
            self.messages.append((function, event))

        self._give_way("after invoke")

    def invoke_all(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[LambdafitError | None]:
        """One after the other: a crash may come between any two."""
        return [refusal(partial(self.invoke, *call)) for call in calls]

    # --- the run ---

    def run(self, max_turns: int = 200_000) -> Run:
        """Let the world turn until the run has ended and nothing moves. Returns the run."""
        self.store.runs[RUN_ID] = Run(
            run_id=RUN_ID,
            settings=self.settings,
            code_version=code_version(),
            created_at=self.now_s,
            deadline_at=self.now_s + self.settings.deadline_s,
        )
        self._reconcile_soon()
        for _ in range(max_turns):
            if not self._turn():
                return self.store.runs[RUN_ID]
        raise AssertionError(f"seed {self.seed}: no end after {max_turns} turns")

    def _turn(self) -> bool:
        ended = self.store.runs[RUN_ID].ended
        over = [p for p in self.processes if p.deadline_s <= self.now_s and not p.frozen_until_s and not p.lingers]
        for process in over:
            self._end(process, crashed=True)  # a function is killed at its time limit
        ready = [p for p in self.processes if p.frozen_until_s <= self.now_s]
        if self.messages and (not ready or self.random.random() < 0.3):
            function, event = self.messages.pop(self.random.randrange(len(self.messages)))
            self._start_function(function, event)
        elif ready:
            self._step(self.random.choice(ready))
        elif self.processes and (ended or not self._lingers()):
            self.now_s = min(p.frozen_until_s for p in self.processes)
        elif ended:
            return False
        else:
            self.now_s += 21.0  # nothing moves: the sweep comes round
            self._reconcile_soon()
        self.now_s += self.random.random() * 0.02
        if not ended and self.random.random() < 0.01:
            self._reconcile_soon()
        if self.random.random() < self.faults.tear / 100:
            self._tear_a_file()
        return True

    def _step(self, process: Process) -> None:
        if self.random.random() < self.faults.crash / 10:
            self._end(process, crashed=True)
            return
        if self.random.random() < self.faults.freeze / 10:
            process.frozen_until_s = self.now_s + self.random.choice((5.0, 60.0, 200.0))
            return
        self.current = process
        process.frozen_until_s = 0.0
        process.greenlet.switch()
        self.current = None
        if process.greenlet.dead:
            self._end(process, crashed=False)

    def _end(self, process: Process, *, crashed: bool) -> None:
        self.processes.remove(process)
        if crashed and process.greenlet:  # it has begun
            process.greenlet.throw(Crash)
        self.trace.append(f"{self.now_s:.3f} {process.name} {'crashed' if crashed else 'returned'}")
        if process.event is None or self.random.random() < self.faults.unheard:
            return
        message = parse_task(process.event)
        error = InvocationFailed(process.name, "crashed").record() if crashed else None
        self._spawn("ended", partial(self._after, message, process.request_id, error))

    def _after(self, message: Any, request_id: str, error: Any) -> None:
        reconcile(self.services, RUN_ID, [EndedInvocation(message, request_id, error)])

    def _reconcile_soon(self) -> None:
        self._spawn("reconcile", partial(reconcile, self.services, RUN_ID))

    def _start_function(self, function: str, event: Mapping[str, Any]) -> None:
        message = parse_task(event)
        request_id = f"request-{self._names}"
        work = {
            "prepare": partial(prepare, prepare_data=lambda run: dict(self.data_facts)),
            "initialise": partial(initialise, trainer=self.trainer),
            "train": partial(train, trainer=self.trainer),
            "evaluate": partial(evaluate, trainer=self.trainer),
            "combine": combine,
            "clear": clear,
        }
        process = self._spawn(
            f"{function} {message.key}@{message.attempt}",
            lambda: execute(message, self.services, self, request_id, work),
        )
        process.deadline_s = self.now_s + LIMIT_S
        process.lingers = self._lingers()
        process.event, process.request_id = event, request_id

    def remaining_s(self) -> float:
        """The deadline port: now and then in a hurry, so that workers pause."""
        if self.random.random() < self.faults.hurry:
            return 0.0
        return 1e9

    def _spawn(self, name: str, work: Any) -> Process:
        self._names += 1

        def body() -> None:
            try:
                work()
            except Crash:
                return

        process = Process(f"{name} ({self._names})", greenlet.greenlet(body), float("inf"))
        self.processes.append(process)
        return process

    def _lingers(self) -> bool:
        return bool(self.faults.linger) and self.random.random() < self.faults.linger

    def _give_way(self, operation: str) -> None:
        if self.current is None:
            return
        self.trace.append(f"{self.now_s:.3f} {self.current.name} {operation}")
        greenlet.getcurrent().parent.switch()

    def _tear_a_file(self) -> None:
        torn = [path for path in self.files.contents if path not in self.files.durable and "/updates/" in path]
        if torn:
            path = self.random.choice(sorted(torn))
            content = self.files.contents[path]
            self.files.contents[path] = self.random.choice((content[:-3], content[:-8] + bytes(8)))
            self.torn.append(path)
            self.trace.append(f"{self.now_s:.3f} torn {path}")


def refusal(invoke: Callable[[], None]) -> LambdafitError | None:
    """Why the invocation was refused, if it was."""
    try:
        invoke()
    except LambdafitError as error:
        return error
    return None


def settings(**changes: Any) -> RunSettings:
    """A small run: 3 workers, 2 slices, some rounds of several steps."""
    values: dict[str, Any] = {
        "recipe": "arithmetic",
        "recipe_digest": "0",
        "dataset": "none",
        "workers": 3,
        "batch_size": 2,
        "epochs": 2,
        "steps_per_round": 3,
        "slices": 2,
        "concurrency": 3,
        "time_limit_s": LIMIT_S,
        "claim_margin_s": 5.0,
        "max_attempts": 50,
        "deadline_s": 1e7,
        "outer": OuterSettings(),
    }
    return RunSettings(**(values | changes))


def fault_free(run_settings: RunSettings, **data_facts: int) -> World:
    """The same run in a world where nothing goes wrong."""
    world = World(0, run_settings, NO_FAULTS)
    if data_facts:
        world.data_facts = data_facts
    run = world.run()
    assert run.status == "FINISHED", run
    return world
