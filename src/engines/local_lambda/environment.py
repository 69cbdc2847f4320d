"""One execution environment: a process group that serves one invocation at a time, and its log file."""

from __future__ import annotations

import contextlib
import enum
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from contracts.errors import EnvironmentFailed, InvocationFailed, LambdafitError
from contracts.function_errors import describe, parse_printed
from engines.local_lambda.invocation import MAX_PAYLOAD_BYTES, Function, Pending
from engines.local_lambda.runtime_api import Connection
from engines.local_lambda.variables import function_arn, process_variables

KILL_LIMIT_S = 5.0
TAIL_BYTES = 4096
TAIL_LINES = 12


class State(enum.Enum):
    """What an environment is doing."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    DYING = "dying"


class Supervisor(Protocol):
    """Who is told of changes: the scheduler, whose lock is held."""

    def ready(self, environment: Environment) -> None:
        """It waits for work, having ended what it had."""

    def killed(self, environment: Environment) -> None:
        """It was killed: nothing that it says counts any more."""


class Environment:
    """A process that runs `engines.local_lambda.child`, and all that it starts.

    What a handler starts in a session of its own (`setsid`) is out of reach of limits and kills.

    Args:
        function: what it runs.
        number: counts the function's environments, from 1.
        address: what its runtime is given as AWS_LAMBDA_RUNTIME_API, token included.
        log_folder: gets `<function>-<number>.log`, readable by its owner only.
        variables: extra variables; the function's own go over them.
        working_folder: None for the parent's.
        supervisor: is told of changes.
        meter: pid → a function that reads its resident bytes.
    Raises:
        OSError: the process cannot be started.
    """

    def __init__(
        self,
        function: Function,
        number: int,
        address: str,
        *,
        log_folder: Path,
        variables: Mapping[str, str],
        working_folder: Path | None,
        supervisor: Supervisor,
        meter: Callable[[int], Callable[[], int]],
    ) -> None:
        self.function = function
        self.name = f"{function.name}-{number:02d}"
        self.state = State.STARTING
        self.pending: Pending | None = None
        self.owner: Pending | None = None
        self.invocations = 0
        self.init_s = 0.0
        self.ready_monotonic_s = 0.0
        self.fate: LambdafitError | None = None
        # The same for all invocations: the client puts it into the process's variables, and what setenv(3) is given
        # of glibc is kept for good, 110 bytes for each new value.
        self._trace_id = f"Root=1-{int(time.time()):08x}-{os.urandom(12).hex()};Sampled=0"
        self._connection: Connection | None = None
        self._supervisor = supervisor
        self._log_path = log_folder / f"{self.name}.log"
        self._log_fd = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._log_mark_bytes = os.fstat(self._log_fd).st_size
        self._started_monotonic_s = time.monotonic()
        self.deadline_monotonic_s = self._started_monotonic_s + function.init_limit_s
        try:
            # -P: a file in the working folder must not stand in for a module of the standard library.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "engines.local_lambda.child"],
                stdin=subprocess.DEVNULL,
                stdout=self._log_fd,
                stderr=self._log_fd,
                env=process_variables(function, self.name, address, variables),
                cwd=working_folder,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._log_fd)
            raise
        self.exit_fd = _exit_fd(self.process.pid)
        self._resident_bytes = meter(self.process.pid)

    @property
    def pid(self) -> int:
        """Its process, which leads the group of all that it starts."""
        return self.process.pid

    @property
    def started(self) -> bool:
        """Whether its initialisation is over."""
        return self.ready_monotonic_s > 0.0

    def has_exited(self) -> bool:
        """Whether its process has ended, which the scheduler may be about to notice."""
        if self.exit_fd is None:
            return self.process.poll() is not None
        look = select.poll()
        look.register(self.exit_fd, select.POLLIN)
        return bool(look.poll(0))

    # --- what the Runtime API tells -------------------------------------------------------------------------

    def wants_work(self, connection: Connection) -> None:
        """As Runtime.wants_work. As on AWS, an invocation is over only when the runtime asks for the next."""
        if self.pending is not None and not self.pending.answered:
            connection.send("400 Bad Request", b'{"errorType":"InvocationNotEnded"}')
            return
        self._connection = connection
        self.deadline_monotonic_s = float("inf")
        if not self.started:
            self.ready_monotonic_s = time.monotonic()
            self.init_s = self.ready_monotonic_s - self._started_monotonic_s
        self.state = State.IDLE
        self._supervisor.ready(self)

    def answers(self, request_id: str, body: bytes | None, *, raised: bool) -> bool:
        """As Runtime.answers. The first answer counts."""
        pending = self.pending
        if pending is None or pending.request_id != request_id or pending.answered:
            return False
        if body is None:
            limit = f"at most {MAX_PAYLOAD_BYTES} bytes"
            pending.error = InvocationFailed(f"function {self.function.name!r}", "its result is too large", limit)
        else:
            pending.answer, pending.raised = body, raised
        pending.settle()
        return True

    def cannot_start(self, body: bytes) -> None:
        """As Runtime.cannot_start."""
        name, message = describe(body)
        numbered = parse_printed(message, name)
        self.kill(numbered or self._failed(EnvironmentFailed, f"it cannot start: {name}: {message}"))

    def hung_up(self, connection: Connection) -> None:
        """As Runtime.hung_up. A runtime that no longer waits can never be given work again."""
        if connection is self._connection:
            self.kill(self._failed(EnvironmentFailed, "it closed its connection"))

    # --- what the scheduler does ----------------------------------------------------------------------------

    def give(self, pending: Pending) -> None:
        """Hand an invocation to the waiting runtime. The time limit runs from here."""
        connection, self._connection = self._connection, None
        assert connection is not None  # noqa: S101 - only idle environments are given work
        limit_s = self.function.time_limit_s
        self.state, self.pending = State.BUSY, pending
        pending.cold = self.invocations == 0 and self.ready_monotonic_s > pending.queued_monotonic_s
        pending.init_s = self.init_s if pending.cold else 0.0
        pending.log_stream = self.name
        pending.started_at = time.time()
        self.invocations += 1
        self.deadline_monotonic_s = time.monotonic() + limit_s
        self._log_mark_bytes = self._log_size_bytes()
        self._log(f"START RequestId: {pending.request_id} Version: $LATEST")
        headers = {
            "Lambda-Runtime-Aws-Request-Id": pending.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((pending.started_at + limit_s) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": function_arn(self.function.name),
            "Lambda-Runtime-Trace-Id": self._trace_id,
        }
        connection.send("200 OK", pending.payload, headers)

    def end(self) -> Pending | None:
        """Let go of the invocation, and log its end as Lambda does."""
        pending, self.pending = self.pending, None
        if pending is None:
            return None
        # The watch may never have looked while it lasted.
        pending.peak_memory_bytes = max(pending.peak_memory_bytes, self._resident_bytes())
        duration_ms = (pending.ended_at - pending.started_at) * 1000
        init = f"\tInit Duration: {pending.init_s * 1000:.2f} ms" if pending.cold else ""
        lines = [
            f"END RequestId: {pending.request_id}",
            f"REPORT RequestId: {pending.request_id}\tDuration: {duration_ms:.2f} ms"
            f"\tMemory Size: {self.function.memory_mb} MB"
            f"\tMax Memory Used: {pending.peak_memory_bytes / 2**20:.0f} MB{init}",
        ]
        if pending.error is not None:
            lines.insert(0, f"{pending.request_id} {pending.error.record().number} {pending.error.message}")
        self._log("\n".join(lines))
        return pending

    def kill(self, fate: LambdafitError) -> None:
        """Kill the process group. `fate` is what its invocation, or its start, failed of."""
        if self.state is not State.DYING:
            self.state, self.fate = State.DYING, fate
            self.deadline_monotonic_s = time.monotonic() + KILL_LIMIT_S
            self._supervisor.killed(self)
        self._kill_group()

    def reap(self) -> None:
        """Its process has exited, or does not die: kill the rest of its group, note its fate, free all."""
        # First the group: until the leader is waited for, its number cannot become another group's.
        self._kill_group()
        code = self.process.poll()
        self.state = State.DYING
        if self.fate is None:
            kind = InvocationFailed if self.started else EnvironmentFailed
            doing = "in the middle of an invocation" if self.started else "while it started"
            self.fate = self._failed(kind, f"its process ended with {exit_text(code)} {doing}")
        if self.pending is not None:
            self.pending.settle(self.fate)
        self._connection = None
        if self.exit_fd is not None:
            os.close(self.exit_fd)

    def close_log(self) -> None:
        """The last thing."""
        os.close(self._log_fd)

    def _kill_group(self) -> None:
        # PermissionError: macOS says so of a group that has only zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _failed(self, kind: type[LambdafitError], what: str) -> LambdafitError:
        tail = self.log_tail()
        return kind(
            f"function {self.function.name!r} ({self.name})", what + (f"; its log ends:\n{tail}" if tail else "")
        )

    # --- the log --------------------------------------------------------------------------------------------

    def log_tail(self) -> str:
        """The last lines that were printed since the start, or since the invocation began."""
        size = self._log_size_bytes()
        begin = max(self._log_mark_bytes, size - TAIL_BYTES)
        with contextlib.suppress(OSError), self._log_path.open("rb") as file:
            file.seek(begin)
            # awslambdaric prints an error as one line, with carriage returns and no-break spaces inside.
            text = file.read(size - begin).decode(errors="replace").replace("\r", "\n").replace("\xa0", " ")
            return "\n".join([line for line in text.splitlines() if not line.startswith("START ")][-TAIL_LINES:])
        return ""

    def _log_size_bytes(self) -> int:
        return os.fstat(self._log_fd).st_size

    def _log(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a full disk must not end the engine
            os.write(self._log_fd, f"{text}\n".encode())


def exit_text(code: int | None) -> str:
    """An exit code, or the signal's name."""
    if code is None:
        return "no exit code"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _exit_fd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process exits; None where the system has no such thing."""
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
