"""One run in a simulated world: everything that could happen to it, driven by one seed.

Every handler and every reconcile is a greenlet that gives way before and after each of its reads and writes. The
world then picks who goes on, lets time pass, delivers, delays, doubles or drops messages and stream records, freezes
processes past their lease, crashes them at any operation, fails their writes, damages files that were never
synchronised, takes away the power, overwrites removed files under a late reader, cancels the run and lets it go on.
The use cases, the protocol and the maths are the real ones; only training is replaced, by arithmetic in which every
mistake shows. What must hold meanwhile is in `simulation.watch`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import greenlet

from contracts.errors import InvocationFailed, LambdafitError
from contracts.messages import TaskMessage, parse_task
from contracts.records import Run
from contracts.settings import RunSettings
from fakes.arithmetic_trainer import ArithmeticTrainer
from fakes.every_task import every_task
from runs import control
from runs.code_version import code_version
from runs.execute import execute
from runs.reconcile import EndedInvocation, reconcile
from runs.services import Services
from simulation.faults import CALM_AFTER_TURNS, NO_FAULTS, SWEEP_S, SWEEPS, Faults, calm
from simulation.processes import Process, carriers, new_environment
from simulation.shapes import RUN_ID, settings
from simulation.simulated_files import SimulatedFiles
from simulation.simulated_store import SimulatedStore
from simulation.violations import Crash, Violation
from simulation.watch import Watch

Call = tuple[str, TaskMessage, str]
"""A function's name, what it was sent, and the request id."""

__all__ = ["NO_FAULTS", "RUN_ID", "Faults", "Process", "World", "fault_free", "settings"]


@dataclass(eq=False)
class World:
    """The simulated store, files, clock, invoker and processes of one run.

    `expected` is the same run without faults; `gives_up` leaves a run that was stopped as it is; `records` counts the
    stream's records that nobody has looked at yet.
    """

    seed: int
    settings: RunSettings
    faults: Faults
    data_facts: Mapping[str, Any] = field(default_factory=lambda: {"train_examples": 37, "val_examples": 5})
    now_s: float = 1_000_000.0
    trace: list[str] = field(default_factory=list)
    keep_spares: bool = False
    expected: World | None = None
    gives_up: bool = True
    through_json: bool = True
    traces: bool = True
    clear_every: int = 1

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._rnd = self.random.random
        self.watch = Watch(self)
        self.store = SimulatedStore(self, through_json=self.through_json, undoes=self.faults.power > 0)
        self.files = SimulatedFiles(self.gives_way, self.watch, keep_spares=self.keep_spares)
        self.files.remembers_removed = self.faults.power > 0
        self.trainer = ArithmeticTrainer()
        self.services = Services(self.store, self.store, self.files, self, self, self)
        self.processes: list[Process] = []
        self.messages: list[Call] = []
        self.held: list[tuple[float, Call]] = []
        self.records = 0
        self.notices: list[EndedInvocation] = []
        self.current: Process | None = None
        self.over: set[str] = set()
        self.turns = self.saves = self._burst = self._names = 0
        self.run_id_ = RUN_ID
        self._carriers = carriers(greenlet.getcurrent())
        self._free: list[Services] = []
        self._frozen = self._slice_stalls = False
        self._work: dict[str, Any] = every_task(self.trainer, lambda run: dict(self.data_facts))
        self._set_faults(self.faults)

    # --- ports: clock, randomness, deadline, invoker ---

    def now(self) -> float:
        return self.now_s + self.current.skew_s if self.current is not None else self.now_s

    def nonce(self) -> str:
        nonce = f"{self.random.getrandbits(64):016x}"
        if self.current is not None:
            self.current.nonce = nonce
        return nonce

    def run_id(self) -> str:
        return RUN_ID

    def remaining_s(self) -> float:
        """Now and then in a hurry, so that workers pause."""
        return 0.0 if self._rnd() < self.faults.hurry else 1e9

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        self.gives_way("before invoke")
        message = parse_task(event)
        if (message.key, message.attempt) not in self.watch.offered:
            raise Violation("an offer is written before it is sent", f"{message.key}@{message.attempt}")
        if self._rnd() < self.faults.refuse:
            raise InvocationFailed(function, "throttled")
        self._names += 1
        call = (function, message, f"request-{self._names}")
        if self._rnd() >= self.faults.drop:
            self._send(call)
        if self._rnd() < self.faults.double:
            # A stack's second delivery bears the first one's request id; a second call does not.
            self._send(call if self.faults.stream else (function, message, f"request-{self._names}-again"))
        self.gives_way("after invoke")

    def invoke_all(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[LambdafitError | None]:
        """One after the other: a crash may come between any two."""
        return [self._refusal(*call) for call in calls]

    def warm_up(self, run_id: str, environments: int) -> None:
        """Nothing: it moves no run."""

    def _refusal(self, function: str, event: Mapping[str, Any]) -> LambdafitError | None:
        try:
            self.invoke(function, event)
        except LambdafitError as error:
            return error
        return None

    def _send(self, call: Call) -> None:
        if self._rnd() < self.faults.late:
            self.held.append((self.now_s + self.random.choice((1.0, 15.0, 40.0, 300.0)), call))
        else:
            self.messages.append(call)

    # --- what the store and the files ask ---

    def gives_way(self, operation: str) -> None:
        """Before and after each read and write: here others go on, and here a process may crash."""
        process = self.current
        if process is None:
            return
        if self.traces:
            self.trace.append(f"{self.now_s:.3f} {process.name} {operation}")
        self._crash_in -= 1
        if self._crash_in <= 0:
            self._crash_in = self._next(self.faults.crash / 10)
            self.current = None
            process.failed = True
            raise Crash
        self._burst -= 1
        if self._burst < 0:
            self._carriers.main.switch()

    def at_risk(self, operation: str) -> None:
        """As `gives_way`, where it matters most: who has just claimed a task, or has half written a file."""
        process, faults = self.current, self.faults
        if process is not None and (faults.crash or faults.freeze):
            chance = self._rnd()
            if chance < faults.crash / 2:
                self._crash_in = 0
            elif chance > 1 - faults.freeze / 3 or self._slice_stalls:
                self._slice_stalls = False
                self._freeze(process)
        self.gives_way(operation)

    def lingers_at(self, operation: str) -> None:
        """As `gives_way`, with a file open that may be written over meanwhile."""
        if self.current is not None and self.faults.freeze and self._rnd() < self.faults.freeze / 6:
            self._freeze(self.current)
        self.gives_way(operation)

    def combining_begins(self) -> None:
        """A round's updates have been chosen. One that is torn now is found, while another slice may be slow."""
        if self._rnd() < self.faults.tear / 8:
            self._tear()
            self._slice_stalls = self.faults.freeze > 0 and self._rnd() < 0.5

    def happens(self, fault: str) -> bool:
        """Whether this fault strikes here: `busy` or `lose`."""
        share: float = getattr(self.faults, fault)
        return self.current is not None and self._rnd() < share / 10

    def saved(self) -> None:
        """After each write to the store: its stream has one record more, unless it is lost."""
        self.saves += 1
        if self.faults.stream and self._rnd() >= self.faults.drop:
            self.records += 1 + (self._rnd() < self.faults.double)

    def file_names(self, excused: Callable[[str], bool] = lambda _path: False) -> list[str]:
        """The files that are left, without the nonces."""
        left = [path for path in self.files.contents if not excused(path)]
        return sorted(path.rsplit(".", 2)[0] if "/parameters/" in path else path for path in left)

    # --- the run ---

    def run(self, max_turns: int = 15_000) -> Run:
        """Let the world turn until the run has ended and nothing moves. Returns the run."""
        self.store.runs[RUN_ID] = Run(
            run_id=RUN_ID,
            settings=self.settings,
            code_version=code_version(),
            created_at=self.now_s,
            deadline_at=self.now_s + self.settings.deadline_s,
        )
        self._reconcile_soon()
        while self._turn():
            self.turns += 1
            if self.turns == CALM_AFTER_TURNS and not self.gives_up:
                self._set_faults(calm(self.faults))
            if self.turns > max_turns:
                raise Violation("every run ends", f"no end after {max_turns} turns")
        return self.store.runs[RUN_ID]

    def _set_faults(self, faults: Faults) -> None:
        self.faults = faults
        self.store_fails = faults.busy > 0 or faults.lose > 0
        self._crash_in = self._next(faults.crash / 10)
        self._mischief = SWEEPS + (faults.tear + faults.cancel) / 100 + faults.power / 1000

    def _next(self, share: float) -> float:
        return self.random.expovariate(share) if share else float("inf")

    def _turn(self) -> bool:
        rnd, ready = self._rnd, self.processes
        if self._frozen:
            now = self.now_s
            ready = [process for process in ready if process.frozen_until_s <= now]
        chance = rnd() if ready else 0.0
        if chance < 0.3 and self.messages:
            self._start_function(*self.messages.pop(int(rnd() * len(self.messages))))
        elif chance < 0.15 and self.notices:
            taken = 1 + int(rnd() * len(self.notices))
            ended, self.notices = self.notices[:taken], self.notices[taken:]
            self._spawn("conduct", partial(reconcile, self.services, RUN_ID, ended))
        elif chance < 0.05 and self.records:
            self.records -= 1 + int(rnd() * self.records)
            self._spawn("conduct", partial(reconcile, self.services, RUN_ID))
        elif ready:
            self._step(ready[int(rnd() * len(ready))] if len(ready) > 1 else ready[0])
        elif not self._pass_time():
            return False
        self.now_s += rnd() * 0.02
        if rnd() < self._mischief:
            self._do_mischief()
        return True

    def _pass_time(self) -> bool:
        """Nothing moves. Returns whether anything still can."""
        run = self.store.runs[RUN_ID]
        times = [process.frozen_until_s for process in self.processes] + [due_s for due_s, _ in self.held]
        if run.ended and run.status != "FINISHED" and not self.gives_up and (not times or self._rnd() < 0.5):
            self._resume(run)
        elif times and (run.ended or self._rnd() >= self.faults.linger):
            self.now_s = max(self.now_s, min(times))
        elif run.ended:
            return False
        else:
            self.now_s += SWEEP_S
            self._reconcile_soon()
        if self.held:
            self.messages += [call for due_s, call in self.held if due_s <= self.now_s]
            self.held = [(due_s, call) for due_s, call in self.held if due_s > self.now_s]
        return True

    def _do_mischief(self) -> None:
        run, faults = self.store.runs[RUN_ID], self.faults
        if run.ended:
            return
        which = self._rnd() * self._mischief
        if which < SWEEPS:
            self._reconcile_soon()
        elif which < SWEEPS + faults.tear / 100:
            self._tear()
        elif which < SWEEPS + (faults.tear + faults.cancel) / 100:
            if self._rnd() < 0.3:
                self._resume(run)  # of a run that goes on: somebody believes that its engine is gone
            else:
                self._spawn("cancel", partial(control.cancel, self.services, RUN_ID))
        else:
            self._lose_power()

    def _tear(self) -> None:
        self._note(f"torn {self.files.tear(self.random, self.store.runs[RUN_ID].round_index)}")

    def _lose_power(self) -> None:
        self._note("the power is gone")
        for process in list(self.processes):
            self._end(process, crashed=True, heard=False)
        for lost in (self.messages, self.held, self.notices, self._free):
            lost.clear()
        self.store.lose_power(self.random)
        self.files.lose_power(self.random)
        self.watch.begin_again()
        self._resume(self.store.runs[RUN_ID])

    def _resume(self, run: Run) -> None:
        """Somebody lets the run go on, with what it lacks."""
        lost = not self.processes or self._rnd() < 0.2
        calm = self.turns >= CALM_AFTER_TURNS
        changes: dict[str, Any] = {}
        if run.reason == "budget" or calm:
            more_usd = 10.0 if calm else 0.05 + self._rnd() * 0.1
            changes["max_cost_usd"] = run.settings.max_cost_usd + more_usd
        if run.reason == "deadline" or calm:
            changes["deadline_s"] = 1e7 if calm else run.settings.deadline_s * 2
        work = partial(control.resume, self.services, RUN_ID, changes, engine_was_lost=lost)
        self._spawn("resume", work)

    def _step(self, process: Process) -> None:
        if process.deadline_s <= self.now_s and not process.lingers:
            self._end(process, crashed=True)  # a function is killed at its time limit
            return
        faults = self.faults
        if faults.freeze and self._rnd() < faults.freeze / 10:
            self._freeze(process)
            return
        self.current = process
        if process.frozen_until_s:
            process.frozen_until_s = 0.0
            self._frozen = any(other.frozen_until_s for other in self.processes)
        self._burst = int(self._rnd() * faults.burst)
        self._carriers.go_on(process)
        self.current = None
        if process.over:
            self._end(process, crashed=process.failed)

    def _freeze(self, process: Process) -> None:
        self._frozen = True
        process.frozen_until_s = self.now_s + self.random.choice((5.0, 15.0, 60.0, 200.0))
        self._burst = 0

    def _end(self, process: Process, *, crashed: bool, heard: bool = True) -> None:
        self.processes.remove(process)
        if crashed:
            self._carriers.crash(process)
        process.failed = process.failed or crashed
        if self.traces:
            self._note(f"{process.name} {'crashed' if crashed else 'returned'}")
        if process.message is None:
            return
        self.over.add(process.request_id)
        if not process.failed and process.environment is not None:
            self._free.append(process.environment)
        heard = heard and not self.store.runs[RUN_ID].ended and self._rnd() >= self.faults.unheard
        if not heard or (self.faults.stream and not process.failed):
            return
        error = InvocationFailed(process.name, "crashed").record() if process.failed else None
        self.notices.append(EndedInvocation(process.message, process.request_id, error))

    def _reconcile_soon(self) -> None:
        self._spawn("reconcile", partial(reconcile, self.services, RUN_ID))

    def _start_function(self, function: str, message: TaskMessage, request_id: str) -> None:
        environment = self._free.pop() if self._free else new_environment(self.services)
        work = partial(execute, message, environment, self, request_id, self._work)
        process = self._spawn(f"{function} {message.key}@{message.attempt}" if self.traces else function, work)
        process.deadline_s = self.now_s + self.settings.time_limit_s
        process.lingers = self.faults.linger > 0 and self._rnd() < self.faults.linger
        process.message, process.request_id, process.environment = message, request_id, environment

    def _spawn(self, name: str, work: Callable[[], Any]) -> Process:
        self._names += 1
        process = Process(f"{name} ({self._names})", work)
        if self.faults.skew_s:
            process.skew_s = (self._rnd() * 2 - 1) * self.faults.skew_s
        self.processes.append(process)
        return process

    def _note(self, what: str) -> None:
        if self.traces:
            self.trace.append(f"{self.now_s:.3f} {what}")


def fault_free(run_settings: RunSettings, **data_facts: Any) -> World:
    """The same run in a world where nothing goes wrong."""
    world = World(0, run_settings, NO_FAULTS)
    if data_facts:
        world.data_facts = data_facts
    run = world.run()
    assert run.status == "FINISHED", run
    return world
