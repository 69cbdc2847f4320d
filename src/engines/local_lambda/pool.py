"""A small Lambda service for one machine: `LocalLambda` runs functions in processes of their own.

Three threads, however many environments: the scheduler, one that tells of ended invocations, and one that
watches memory.
"""

from __future__ import annotations

import atexit
import functools
import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from contracts.error_catalogue import error_from_record
from contracts.errors import InvocationFailed, TimedOut
from engines.local_lambda.environment import State
from engines.local_lambda.invocation import Function, Invocation, Pending, make_pending, to_invocation
from engines.local_lambda.scheduler import Scheduler, engine_stopped
from stores.private_folders import make_private_folder

__all__ = ["Function", "Invocation", "LocalLambda"]

LOG = logging.getLogger(__name__)

JOIN_LIMIT_S = 15.0


class LocalLambda:
    """Runs functions as AWS Lambda does; implements `contracts.ports.Invoker`.

    Args:
        functions: what can be invoked.
        log_folder: one log file an environment; the folder is made.
        on_ended: called on an engine thread, once for each invocation of `invoke`, one after the other. What
            it raises is logged. Calls by `call` tell their caller only, as on AWS.
        environment: extra variables for all functions.
        working_folder: of the processes; None for the parent's.
    """

    def __init__(
        self,
        functions: Sequence[Function],
        *,
        log_folder: Path,
        on_ended: Callable[[Invocation], None],
        environment: Mapping[str, str] | None = None,
        working_folder: Path | None = None,
    ) -> None:
        # Here, not above: psutil takes as long to import as all the rest.
        from engines.local_lambda import memory

        make_private_folder(log_folder)
        self._functions = {function.name: function for function in functions}
        self._on_ended = on_ended
        self._ended: queue.SimpleQueue[Pending | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._scheduler = Scheduler(
            functions,
            log_folder=log_folder,
            variables=dict(environment or {}),
            working_folder=working_folder,
            meter=memory.meter,
            ended=self._note_end,
        )
        watch = functools.partial(memory.watch, self._scheduler, self._stopped)
        self._serving, self._telling, self._watching = (
            threading.Thread(target=target, name=f"lambda-{name}", daemon=True)
            for name, target in (("scheduler", self._scheduler.run), ("ended", self._tell), ("memory", watch))
        )
        for thread in (self._serving, self._telling, self._watching):
            thread.start()
        atexit.register(self.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def invoke(self, function: str, event: Mapping[str, Any], affinity: str = "") -> None:
        """Queue an invocation; first come, first served. Never waits for it.

        Args:
            affinity: prefers the environment that served this affinity last, whose data is still warm.
        Raises:
            InvocationFailed: no such function, the event is no JSON or too large, or the engine has stopped.
        """
        self._submit(make_pending(self._function(function), event, affinity, None))

    def call(self, function: str, event: Mapping[str, Any], timeout_s: float) -> Any:
        """Invoke and wait for what the handler returns.

        Raises:
            TimedOut: nothing came within `timeout_s`. It is dropped if it still waits, else it runs on.
            LambdafitError: whatever made it fail, with its number.
        """
        done = threading.Event()
        pending = make_pending(self._function(function), event, "", done)
        self._submit(pending)
        try:
            if not done.wait(timeout_s):
                raise TimedOut(f"function {function!r}", f"no answer within {timeout_s:g} s")
        finally:
            if not done.is_set():
                self._scheduler.post(functools.partial(self._scheduler.withdraw, pending))
        invocation = to_invocation(pending)
        if invocation.error is not None:
            raise error_from_record(invocation.error)
        return invocation.result

    def prestart(self, function: str, count: int) -> None:
        """Start environments until there are `count`, or as many as concurrency allows. Does not wait.

        Raises:
            InvocationFailed: no such function.
        """
        name = self._function(function).name
        self._scheduler.post(functools.partial(self._scheduler.prestart, name, count))

    def idle(self, function: str | None = None) -> int:
        """How many environments wait for work; of one function, or of all."""
        return self._scheduler.count(State.IDLE, function)

    def busy(self, function: str | None = None) -> int:
        """How many environments work; of one function, or of all."""
        return self._scheduler.count(State.BUSY, function)

    def stop(self) -> None:
        """Kill all environments, end all invocations as failed, free everything. May be called repeatedly."""
        self._stopped.set()
        self._scheduler.post(self._scheduler.stop)
        self._serving.join(JOIN_LIMIT_S)
        self._ended.put(None)  # behind the last ended invocation
        for thread in (self._telling, self._watching):
            if thread is not threading.current_thread():  # on_ended may stop the engine
                thread.join(JOIN_LIMIT_S)
        atexit.unregister(self.stop)

    def _function(self, name: str) -> Function:
        if name not in self._functions:
            raise InvocationFailed("function", repr(name), f"one of {', '.join(self._functions)}")
        return self._functions[name]

    def _submit(self, pending: Pending) -> None:
        if not self._scheduler.submit(pending):
            raise engine_stopped(pending.function)

    def _note_end(self, pending: Pending) -> None:
        if pending.waiter is not None:
            pending.waiter.set()
        else:
            self._ended.put(pending)

    def _tell(self) -> None:
        while (pending := self._ended.get()) is not None:
            try:
                self._on_ended(to_invocation(pending))
            except Exception:
                LOG.exception("on_ended failed for request %s", pending.request_id)
