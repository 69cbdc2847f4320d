"""Which environment does what: all of the engine's decisions.

One thread serves sockets, exits and time limits. One lock guards all state, so that `submit` can hand work to a
waiting environment from the caller's own thread: a change of threads would cost more than all the rest.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from contracts.errors import EnvironmentFailed, InvocationFailed, LambdafitError, OutOfMemory, TimedOut
from engines.local_lambda.environment import Environment, State
from engines.local_lambda.fleet import Fleet
from engines.local_lambda.invocation import Function, Pending
from engines.local_lambda.runtime_api import RuntimeApi, token_key

LOG = logging.getLogger(__name__)

MAX_START_FAILURES = 2
POLL_S = 0.05
STOP_LIMIT_S = 10.0


class Scheduler:
    """Runs until it is told to stop.

    Args:
        functions: what can be invoked.
        log_folder, variables, working_folder, meter: as for Environment.
        ended: called once for each invocation, with the lock held; must not block.
    """

    def __init__(
        self,
        functions: Sequence[Function],
        *,
        log_folder: Path,
        variables: Mapping[str, str],
        working_folder: Path | None,
        meter: Callable[[int], Callable[[], int]],
        ended: Callable[[Pending], None],
    ) -> None:
        self.fleets = {function.name: Fleet(function) for function in functions}
        self._log_folder = log_folder
        self._variables = variables
        self._working_folder = working_folder
        self._meter = meter
        self._ended = ended
        self._selector = selectors.DefaultSelector()
        self._runtimes: dict[bytes, Environment] = {}
        self._keys: dict[Environment, bytes] = {}
        self._api = RuntimeApi(self._selector, self._runtimes)
        self._commands: collections.deque[Callable[[], None]] = collections.deque()
        self._lock = threading.RLock()
        self._closed = False
        self._stopping = False
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._selector.register(self._wake_out, selectors.EVENT_READ, self._woken)

    # --- from any thread ------------------------------------------------------------------------------------

    def submit(self, pending: Pending) -> bool:
        """Queue an invocation. Returns False where the engine has stopped."""
        fleet = self.fleets[pending.function.name]
        with self._lock:
            if self._closed:
                return False
            fleet.queue.append(pending)
            self._hand_out(fleet)
            # The thread starts environments (they die with the thread that started them), and must learn of
            # the time limit that has just begun.
            return self.post(functools.partial(self._dispatch, fleet))

    def post(self, command: Callable[[], None]) -> bool:
        """Have `command` run on the scheduler's thread. Returns False where the engine has stopped."""
        with self._lock:
            if self._closed:
                return False
            self._commands.append(command)
            with contextlib.suppress(BlockingIOError):  # full: it is awake anyway
                self._wake_in.send(b"\0")
            return True

    def working(self) -> list[Environment]:
        """The environments whose memory may grow."""
        return [one for one in self._environments() if one.state in (State.STARTING, State.BUSY)]

    def count(self, state: State, function: str | None) -> int:
        """How many environments are in this state, for display."""
        return sum(one.state is state and function in (None, one.function.name) for one in self._environments())

    # --- commands -------------------------------------------------------------------------------------------

    def withdraw(self, pending: Pending) -> None:
        """Drop an invocation that nobody waits for any more, unless it has begun."""
        with contextlib.suppress(ValueError):
            self.fleets[pending.function.name].queue.remove(pending)

    def prestart(self, function: str, count: int) -> None:
        """Start environments until there are `count`."""
        fleet = self.fleets[function]
        while len(fleet.live) < min(count, fleet.function.concurrency) and self._start(fleet):
            pass

    def note_memory(self, environment: Environment, resident_bytes: int) -> None:
        """What an environment's processes hold now; over its limit they are killed."""
        if environment.state not in (State.STARTING, State.BUSY):
            return
        if environment.pending is not None:
            pending = environment.pending
            pending.peak_memory_bytes = max(pending.peak_memory_bytes, resident_bytes)
        function = environment.function
        if resident_bytes > function.memory_mb * 2**20:
            environment.kill(
                OutOfMemory(
                    f"function {function.name!r} ({environment.name})",
                    f"{resident_bytes / 2**20:.0f} MB resident",
                    f"at most {function.memory_mb} MB",
                )
            )

    def stop(self) -> None:
        """End `run`."""
        self._stopping = True

    # --- the thread -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until `stop`; then kill all, end every invocation, close all."""
        while not self._stopping:
            self._turn(None)
        self._shut_down()

    def _turn(self, limit_s: float | None) -> None:
        """Wait until something happens, at most `limit_s`, and deal with it."""
        with self._lock:
            wait_s = self._wait_s(limit_s)
        events = self._selector.select(wait_s)
        with self._lock:
            for key, mask in events:
                # An earlier event may have closed it, and its number may be another connection's by now.
                if self._selector.get_map().get(key.fd) is key:
                    self._safely(key.data, mask)
            while self._commands:
                self._safely(self._commands.popleft())
            now = time.monotonic()
            for one in self._environments():
                if one.exit_fd is None and one.process.poll() is not None:
                    self._safely(self._exited, one)
                elif one.deadline_monotonic_s <= now:
                    self._safely(self._overdue, one)

    def _safely(self, action: Callable[..., None], *arguments: object) -> None:
        """No mistake in one place may end the engine, and with it all that runs."""
        try:
            action(*arguments)
        except Exception:
            LOG.exception("the local Lambda engine made a mistake")

    def _wait_s(self, limit_s: float | None) -> float | None:
        live = self._environments()
        waits = [one.deadline_monotonic_s - time.monotonic() for one in live if one.deadline_monotonic_s < 1e300]
        waits += [POLL_S] if any(one.exit_fd is None for one in live) else []
        waits += [] if limit_s is None else [limit_s]
        return max(0.0, min(waits)) if waits else None

    def _woken(self, _mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_out.recv(4096)

    def _overdue(self, environment: Environment) -> None:
        where = f"function {environment.function.name!r} ({environment.name})"
        match environment.state:
            case State.STARTING:
                limit = f"within {environment.function.init_limit_s:g} s"
                environment.kill(EnvironmentFailed(where, "it was not ready", limit))
            case State.BUSY:
                limit = f"at most {environment.function.time_limit_s:g} s"
                environment.kill(TimedOut(where, "it ran into its time limit and was killed", limit))
            case _:  # killed, and yet it does not go: it must not hold up the rest
                LOG.error("%s (process %d) cannot be killed", environment.name, environment.pid)
                self._exited(environment)

    # --- what environments tell -----------------------------------------------------------------------------

    def ready(self, environment: Environment) -> None:
        """As Supervisor.ready."""
        fleet = self.fleets[environment.function.name]
        if environment not in fleet.idle:
            fleet.idle.append(environment)
        self._end(environment)
        self._dispatch(fleet)

    def killed(self, environment: Environment) -> None:
        """As Supervisor.killed."""
        self._runtimes.pop(self._keys.pop(environment, b""), None)
        idle = self.fleets[environment.function.name].idle
        if environment in idle:
            idle.remove(environment)

    def _exited(self, environment: Environment, _mask: int = 0) -> None:
        fleet = self.fleets[environment.function.name]
        self.killed(environment)
        if environment.exit_fd is not None:
            self._selector.unregister(environment.exit_fd)
        environment.reap()
        fleet.forget(environment)
        self._end(environment)
        environment.close_log()
        if not environment.started and environment.fate is not None:
            self._start_failed(fleet, environment.owner, environment.fate)
        self._dispatch(fleet)

    def _end(self, environment: Environment) -> None:
        pending = environment.end()
        if pending is not None:
            self._ended(pending)

    # --- queue and environments -----------------------------------------------------------------------------

    def _hand_out(self, fleet: Fleet) -> None:
        if fleet.queue:
            fleet.idle[:] = [one for one in fleet.idle if not one.has_exited()]  # `_exited` will hear of the others
        while fleet.queue and fleet.idle:
            pending = fleet.queue.popleft()
            fleet.take_idle(pending.affinity).give(pending)

    def _dispatch(self, fleet: Fleet) -> None:
        if self._stopping:
            return
        self._hand_out(fleet)
        # Each waiting invocation gets an environment that starts for it, as far as concurrency allows.
        waiting = list(itertools.islice(fleet.queue, fleet.function.concurrency))
        starting = [one for one in fleet.live if one.state is State.STARTING]
        owned = {one.owner for one in starting}
        spare = [one for one in starting if one.owner not in waiting]
        for pending in waiting:
            if pending in owned:
                continue
            if spare:
                spare.pop().owner = pending
            elif len(fleet.live) >= fleet.function.concurrency or not self._start(fleet, pending):
                break

    def _start(self, fleet: Fleet, owner: Pending | None = None) -> bool:
        if self._stopping:
            return False
        token = os.urandom(16).hex()
        number = next(fleet.numbers)
        try:
            new = Environment(
                fleet.function,
                number,
                f"127.0.0.1:{self._api.port}/{token}",
                log_folder=self._log_folder,
                variables=self._variables,
                working_folder=self._working_folder,
                supervisor=self,
                meter=self._meter,
            )
        except OSError as error:
            where = f"function {fleet.function.name!r}"
            self._start_failed(fleet, owner, EnvironmentFailed(where, f"its process cannot be started: {error}"))
            self._commands.append(functools.partial(self._dispatch, fleet))  # next turn: no recursion
            return False
        new.owner = owner
        fleet.live.append(new)
        key = token_key(token)
        self._runtimes[key], self._keys[new] = new, key
        if new.exit_fd is not None:
            self._selector.register(new.exit_fd, selectors.EVENT_READ, functools.partial(self._exited, new))
        return True

    def _start_failed(self, fleet: Fleet, owner: Pending | None, error: LambdafitError) -> None:
        if not self._stopping:
            LOG.warning("%s", error)
        if owner is None or owner not in fleet.queue:
            return
        owner.start_failures += 1
        if owner.start_failures >= MAX_START_FAILURES:
            fleet.queue.remove(owner)
            owner.settle(error)
            self._ended(owner)

    def _environments(self) -> list[Environment]:
        return [one for fleet in self.fleets.values() for one in list(fleet.live)]

    def _shut_down(self) -> None:
        with self._lock:
            self._closed = True
            for one in self._environments():
                one.kill(engine_stopped(one.function))
        limit = time.monotonic() + STOP_LIMIT_S
        while self._environments() and time.monotonic() < limit:
            self._turn(POLL_S)
        with self._lock:
            for fleet in self.fleets.values():
                while fleet.queue:
                    pending = fleet.queue.popleft()
                    pending.settle(engine_stopped(fleet.function))
                    self._ended(pending)
            self._api.close()
            self._selector.close()
            self._wake_in.close()
            self._wake_out.close()


def engine_stopped(function: Function) -> InvocationFailed:
    """What open invocations fail of when the engine stops."""
    return InvocationFailed(f"function {function.name!r}", "engine stopped")
