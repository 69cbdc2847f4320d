"""Runs on one machine: the conductor of a run, over the small Lambda service beside this file.

The conductor is the only thread that reconciles. It sleeps until a function has ended, an offer or claim expires,
or the sweep is due, which also notices that another process has stopped the run.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from contracts.errors import InvalidSetting, LambdafitError
from contracts.messages import is_warm_up, parse_task, warm_up_event
from contracts.records import Run
from contracts.settings import RunSettings
from engines.home import Home, HomeLock
from engines.local_lambda.invocation import Function, Invocation
from engines.local_lambda.pool import LocalLambda
from handlers import wiring
from runs import framework_versions
from runs.cost import LIGHT_MEMORY_MB
from runs.reconcile import EndedInvocation, reconcile
from runs.services import Services
from runs.start import EngineLimits
from stores.shared_files import FolderFiles
from stores.sqlite import SqliteStore

MEMORY_VARIABLES = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
"""glibc keeps large vectors' memory from round to round: fresh pages cost as much as reading a file into them."""

SWEEP_S = 1.0
DEFAULT_TIME_LIMIT_S = 900.0
DEFAULT_MEMORY_MB = 3_008
TRAIN = "handlers.train.handler"
HANDLERS = {
    "train": TRAIN,
    "combine": "handlers.combine.handler",
    "prepare": "handlers.prepare.handler",
}


@dataclass(frozen=True)
class LocalSettings:
    """What the machine and the user's environment say.

    Args:
        data: folder of data sets (`LAMBDAFIT_DATA`).
        time_limit_s: each function's (`LAMBDAFIT_TIMEOUT_S`); None: not set.
        memory_mb: each function's (`LAMBDAFIT_MEMORY_MB`); None: not set.
        concurrency: environments side by side (`LAMBDAFIT_CONCURRENCY`); default the cores.
    """

    data: str
    time_limit_s: float | None
    memory_mb: int | None
    concurrency: int
    cores: int

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> LocalSettings:
        """Read the variables.

        Raises:
            InvalidSetting: one of them is no number above 0.
        """
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        memory = _positive(variables, "LAMBDAFIT_MEMORY_MB")
        return cls(
            data=variables.get("LAMBDAFIT_DATA", ""),
            time_limit_s=_positive(variables, "LAMBDAFIT_TIMEOUT_S"),
            memory_mb=int(memory) if memory else None,
            concurrency=int(_positive(variables, "LAMBDAFIT_CONCURRENCY") or cores),
            cores=cores,
        )

    def limits(self) -> EngineLimits:
        """As a start wants them."""
        return EngineLimits(
            concurrency=self.concurrency,
            cores=self.cores,
            time_limit_s=self.time_limit_s or DEFAULT_TIME_LIMIT_S,
            memory_mb=self.memory_mb or DEFAULT_MEMORY_MB,
            framework=framework_versions.here(),
        )

    def changed_limits(self) -> dict[str, Any]:
        """The limits that were set by hand, for a resume."""
        return {"time_limit_s": self.time_limit_s, "memory_mb": self.memory_mb}


class LocalEngine:
    """One run's engine: a lock on the home, the functions' processes, and the conductor.

    Args:
        log_name: what the log folder is called: the run's id.
        run_settings: they say how many environments, with which limits.
        handlers: other handlers than lambdafit's own, by function; for benchmarks and tests.
    """

    def __init__(
        self,
        home: Home,
        data: str,
        log_name: str,
        run_settings: RunSettings,
        handlers: Mapping[str, str] | None = None,
    ) -> None:
        self._run_settings = run_settings
        self._handlers = handlers or HANDLERS
        self._home = home
        self._lock = HomeLock(home)
        self._lock.acquire(f"run {log_name}")
        home.remove_temporary_files()  # of an engine that crashed
        with contextlib.suppress(OSError):  # functions then use the system's
            home.temporary_folder.mkdir(mode=0o700)
        environment = home.environment(data, run_settings.threads)
        self._files = FolderFiles(environment.shared_folder, keep_spares=True)
        self._files.give_up_spares()  # of an engine that crashed
        self._ended: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._interrupted = False
        self._functions = LocalLambda(
            functions(run_settings, environment.threads, self._handlers),
            log_folder=home.log_folder(log_name),
            on_ended=self._ended.put,
            environment={
                "LAMBDAFIT_HOME": environment.home,
                "LAMBDAFIT_DATA": environment.data,
                "LAMBDAFIT_THREADS": str(environment.threads),
                # Whatever the user's shell says: nothing here reaches into an account.
                "LAMBDAFIT_TABLE": "",
                "LAMBDAFIT_BUCKET": "",
                "LAMBDAFIT_SHARED": "",
                "LAMBDAFIT_SPARES": "true",
                "TMPDIR": str(home.temporary_folder),
            },
        )
        self._store = SqliteStore(environment.store_file)
        clock, randomness = wiring.SystemClock(), wiring.SystemRandomness()
        self.services = Services(self._store, self._store, self._files, self, clock, randomness)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        # Not in `stop`: a display may still be reading then. A later look opens it again.
        self._store.close()

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        """Implements `contracts.ports.Invoker`; a worker's rounds go to the environment that has its data warm."""
        self._functions.invoke(function, event, affinity=f"{event.get('run_id')}/{event.get('workerno', '')}")

    def invoke_all(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[LambdafitError | None]:
        """See `contracts.ports.Invoker`. One after the other: queueing an event takes microseconds."""
        return [self._refusal(function, event) for function, event in calls]

    def warm_up(self, run_id: str, environments: int) -> None:
        """See `contracts.ports.Invoker`. Handlers of benchmarks and tests know no warm-up."""
        if self._handlers["train"] == TRAIN:
            with contextlib.suppress(LambdafitError):
                for _ in range(environments):
                    self._functions.invoke("train", warm_up_event(run_id))

    def call(self, function: str, event: Mapping[str, Any], timeout_s: float) -> Any:
        """Invoke a function and wait for its answer."""
        return self._functions.call(function, event, timeout_s)

    def prestart(self) -> None:
        """Start what the first round will need, all at once: importing TensorFlow takes longest."""
        self._functions.prestart("prepare", 1)
        self._functions.prestart("train", self._run_settings.concurrency)
        self._functions.prestart("combine", 1)

    def conduct(self, run_id: str, watch: Callable[[Run], None]) -> Run:
        """Bring a run to its end.

        Args:
            watch: told the run whenever it may have moved; on this thread, so be quick.
        Returns:
            the ended run; after `interrupt` the run as it stands.
        """
        ended: list[EndedInvocation] = []
        while True:
            run, wake_at = reconcile(self.services, run_id, ended)
            watch(run)
            if run.ended or self._interrupted:
                return run
            patience_s = max(0.0, min(SWEEP_S, wake_at - self.services.clock.now()))
            ended = [_as_ended(over) for over in self._wait(patience_s) if not is_warm_up(over.event)]

    def interrupt(self) -> None:
        """Have `conduct` return at once. Safe in a signal handler."""
        self._interrupted = True
        self._ended.put(None)

    def stop(self) -> None:
        """End all processes and give the home back. What they were at is resumed by the next engine."""
        self._functions.stop()
        if self._lock.held:
            self._files.give_up_spares()
            self._home.remove_temporary_files()
        self._lock.release()

    def _refusal(self, function: str, event: Mapping[str, Any]) -> LambdafitError | None:
        try:
            self.invoke(function, event)
        except LambdafitError as error:
            return error
        return None

    def _wait(self, patience_s: float) -> list[Invocation]:
        """The invocations that have ended: at least one, unless the patience runs out."""
        try:
            ended = [self._ended.get(timeout=patience_s)]
        except queue.Empty:
            return []
        while not self._ended.empty():
            ended.append(self._ended.get())
        return [invocation for invocation in ended if invocation is not None]


def _as_ended(invocation: Invocation) -> EndedInvocation:
    """What the reconciler is told. What an invocation says of itself does not count: only its report does."""
    return EndedInvocation(parse_task(invocation.event), invocation.request_id, invocation.error)


def functions(run_settings: RunSettings, threads: int, handlers: Mapping[str, str]) -> list[Function]:
    """The functions that tasks are sent to, as `template.yaml` describes them for AWS."""
    variables = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")} | MEMORY_VARIABLES
    light_memory_mb = max(LIGHT_MEMORY_MB, run_settings.memory_mb)
    return [
        Function(
            name=name,
            handler=handler,
            concurrency=run_settings.concurrency,
            time_limit_s=run_settings.time_limit_s,
            memory_mb=run_settings.memory_mb if name == "train" else light_memory_mb,
            environment=variables,
        )
        for name, handler in handlers.items()
    ]


def _positive(variables: Mapping[str, str], name: str) -> float | None:
    text = variables.get(name, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < sys.maxsize:
        raise InvalidSetting(name, repr(text), "a number above 0")
    return value
