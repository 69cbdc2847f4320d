"""Functions that cost nothing to have many of: each invocation is a thread that sleeps where a worker would compute.

The use cases, handlers' protocol, run store and files are the real ones. A few processes hold the threads. Simulated
are: computing (sleep), how fast one function moves bytes (sleep), and the way of an event to its function (sleep).
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import resource
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

from contracts.errors import LambdafitError
from contracts.messages import parse_task
from contracts.ports import OpenFile, SharedFiles
from contracts.records import FileRef, Run
from engines.local import MEMORY_VARIABLES
from every_task import every_task
from handlers import wiring
from round_handlers import IdleShard, IdleTrainer, Steps
from runs.execute import execute
from runs.reconcile import EndedInvocation, reconcile
from runs.services import Services
from stores.shared_files import FolderFiles
from stores.sqlite import SqliteStore
from training.combine import Update, average_slice
from training.shards import Rows
from training.vector_files import Vector, write_vector
from whole_numbers import prepare_numbers

LEAST_SLEEP_S = 0.0005
SWEEP_S = 1.0
LIMIT_S = 900.0


class Speeds(NamedTuple):
    """What is slept, all of it already scaled to the benchmark's time.

    Args:
        hop_s: from an event to its function.
        request_s: of each file that a function opens or writes.
        bytes_per_s: that one function moves at most; None: as fast as this machine does.
    """

    hop_s: float = 0.0
    request_s: float = 0.0
    bytes_per_s: float | None = None


class Pace:
    """One function's connection: what goes through it takes its time, one after the other."""

    def __init__(self, speeds: Speeds) -> None:
        self._speeds = speeds
        self._free_at = time.perf_counter()

    def request(self) -> None:
        """A file is opened or made."""
        self._take(self._speeds.request_s)

    def move(self, count: int) -> None:
        """Bytes were moved."""
        if self._speeds.bytes_per_s is not None:
            self._take(count / self._speeds.bytes_per_s)

    def _take(self, seconds: float) -> None:
        """Time that other work took counts; very short sleeps are put together."""
        self._free_at += seconds
        left_s = self._free_at - time.perf_counter()
        if left_s > LEAST_SLEEP_S:
            time.sleep(left_s)

    def begin(self) -> None:
        """The connection was idle until now: idle time is not saved up."""
        self._free_at = max(self._free_at, time.perf_counter())


class PacedFile:
    """Implements `contracts.ports.OpenFile` around another."""

    def __init__(self, file: OpenFile, pace: Pace) -> None:
        self._file, self._pace = file, pace

    def __enter__(self) -> OpenFile:
        self._file.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._file.__exit__(*error)

    def read_into(self, offset: int, buffer: Any) -> None:
        """See `OpenFile.read_into`. What is done with a block while the next one comes in costs no time."""
        self._file.read_into(offset, buffer)
        self._pace.move(memoryview(buffer).nbytes)

    def view(self, offset: int, size: int) -> memoryview | None:
        """See `OpenFile.view`: a network's bytes do not lie here."""


class PacedFiles:
    """Implements `contracts.ports.SharedFiles` around another: one function's view of it."""

    def __init__(self, files: SharedFiles, pace: Pace) -> None:
        self._files, self._pace = files, pace

    def write(self, path: str, buffers: Iterable[Any], *, durable: bool) -> int:
        """See `SharedFiles.write`."""
        self._pace.begin()
        self._pace.request()
        written = self._files.write(path, buffers, durable=durable)
        self._pace.move(written)
        return written

    def open(self, path: str) -> OpenFile:
        """See `SharedFiles.open`."""
        self._pace.begin()
        self._pace.request()
        return PacedFile(self._files.open(path), self._pace)

    def read_into(self, path: str, offset: int, buffer: Any) -> None:
        """See `SharedFiles.read_into`."""
        with self.open(path) as file:
            file.read_into(offset, buffer)

    def read(self, path: str) -> bytes:
        """See `SharedFiles.read`."""
        self._pace.begin()
        self._pace.request()
        content = self._files.read(path)
        self._pace.move(len(content))
        return content

    def exists(self, path: str) -> bool:
        """See `SharedFiles.exists`."""
        return self._files.exists(path)

    def names(self, path: str) -> Sequence[str]:
        """See `SharedFiles.names`."""
        return self._files.names(path)

    def remove(self, path: str) -> None:
        """See `SharedFiles.remove`."""
        self._files.remove(path)

    def local_path(self, path: str) -> str:
        """See `SharedFiles.local_path`."""
        return self._files.local_path(path)


@cache
def ones(values: int) -> Vector:
    """Float32 of shape (values,)."""
    return np.ones(values, dtype=np.float32)


class SleepingShard(IdleShard):
    """Steps that sleep. What it hands in are ones, whoever it is: the same memory for all."""

    def __init__(self, run: Run, pieces: Sequence[Rows]) -> None:
        settings = run.settings.recipe_settings
        self._values = int(settings["values"])
        self._step_s = float(settings["step_s"])
        self.total_steps = sum(len(piece) for piece in pieces)
        self.step = 0

    def advance(self, steps: int) -> Steps:
        """Sleep as long as it would have computed."""
        done = range(self.step, min(self.step + steps, self.total_steps))
        time.sleep(self._step_s * len(done))
        self.step = done.stop
        count = len(done)
        return Steps(done.start, [0.0] * count, [1] * count, [1e3 * self._step_s] * count, [])

    def update(self, parameters: Vector) -> Vector:
        """Ones, so that the sum of all rounds is known."""
        return ones(self._values)


class SleepingTrainer(IdleTrainer):
    """Implements runs.trainer.Trainer."""

    fingerprint = "sleep"

    def shard(self, run: Run, round_index: int, worker_index: int, pieces: Sequence[Rows]) -> IdleShard:
        """One worker's round."""
        return SleepingShard(run, pieces)


TRAINER = SleepingTrainer()
WORK = every_task(TRAINER, prepare_numbers)


class Limit:
    """Implements contracts.ports.Deadline: nothing here is killed."""

    def remaining_s(self) -> float:
        """Seconds."""
        return LIMIT_S


def aggregate(files: SharedFiles, event: Mapping[str, Any]) -> None:
    """Average one shard of what clients handed in and write it: what others measured, without any protocol."""
    refs = [FileRef(**{**one, "parts": tuple(one["parts"])}) for one in event["refs"]]
    updates = [Update(index, ref, 1, "nonce") for index, ref in enumerate(refs)]
    mean = average_slice(files, updates, event["bounds"], event["index"])
    write_vector(files, f"mean-{event['index']}.npy", mean, (0, mean.size), durable=False)


class Host:
    """A process of many functions; a thread each."""

    def __init__(self, folder: Path, speeds: Speeds, channel: Connection) -> None:
        self._speeds, self._channel = speeds, channel
        self._store = SqliteStore(folder / "runs.db")
        self._files = FolderFiles(folder / "shared")
        self._answering = threading.Lock()

    def serve(self, threads: int) -> None:
        """Until the parent is gone or says so."""
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
        with ThreadPoolExecutor(threads) as pool:
            while (message := self._channel.recv()) is not None:
                pool.submit(self._invoke, *message)

    def _invoke(self, number: int, function: str, event: Mapping[str, Any]) -> None:
        problem = ""
        try:
            time.sleep(self._speeds.hop_s)
            files = PacedFiles(self._files, Pace(self._speeds))
            if function == "aggregate":
                aggregate(files, event)
            else:
                clock, randomness = wiring.SystemClock(), wiring.SystemRandomness()
                services = Services(self._store, self._store, files, wiring.NoInvoker(), clock, randomness)
                execute(parse_task(event), services, Limit(), "simulated", WORK)
        except BaseException:  # noqa: BLE001 - whatever it is, the parent is told
            problem = traceback.format_exc()
        with self._answering:
            self._channel.send((number, problem))


def serve(folder: Path, speeds: Speeds, channel: Connection, threads: int) -> None:
    """A host's process."""
    Host(folder, speeds, channel).serve(threads)


class SimulatedFunctions:
    """Implements contracts.ports.Invoker over some hosts; a context manager that ends them.

    Args:
        folder: of the run store and the shared files.
        at_once: functions that work at the same time.
    """

    def __init__(self, folder: Path, speeds: Speeds, at_once: int, hosts: int) -> None:
        os.environ |= MEMORY_VARIABLES  # as functions have them
        context = multiprocessing.get_context("spawn")
        self._channels: list[Connection] = []
        self._processes = []
        for _ in range(hosts):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(folder, speeds, theirs, at_once + 2), daemon=True)
            process.start()
            self._channels.append(ours)
            self._processes.append(process)
        self._events: dict[int, Mapping[str, Any]] = {}
        self._count = 0
        self.ended: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self.problems: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> SimulatedFunctions:
        return self

    def __exit__(self, *error: object) -> None:
        for channel, process in zip(self._channels, self._processes, strict=True):
            channel.send(None)
            process.join(10)
            process.kill()

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        """See `Invoker.invoke`."""
        number = self._count
        self._count += 1
        self._events[number] = event
        self._channels[number % len(self._channels)].send((number, function, event))

    def invoke_all(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[LambdafitError | None]:
        """See `Invoker.invoke_all`."""
        for function, event in calls:
            self.invoke(function, event)
        return [None] * len(calls)

    def warm_up(self, run_id: str, environments: int) -> None:
        """See `Invoker.warm_up`: nothing is cold here."""

    def wait(self, patience_s: float) -> list[Mapping[str, Any]]:
        """The events whose functions have ended."""
        try:
            found = [self.ended.get(timeout=patience_s)]
        except queue.Empty:
            return []
        while not self.ended.empty():
            found.append(self.ended.get())
        return found

    def busy_s(self) -> float:
        """Seconds that all processes together, this one too, have been on a processor."""
        processes = [psutil.Process(), *(psutil.Process(one.pid) for one in self._processes)]
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    def _listen(self) -> None:
        try:
            while True:
                for channel in wait(self._channels):
                    assert isinstance(channel, Connection)
                    number, problem = channel.recv()
                    if problem:
                        self.problems.append(problem)
                    self.ended.put(self._events.pop(number))
        except (EOFError, OSError):  # a host has ended
            return


def conduct(functions: SimulatedFunctions, services: Services, run_id: str, watch: Callable[[Run], None]) -> Run:
    """As the engine on one machine conducts: reconcile whenever a function has ended.

    Raises:
        AssertionError: a function failed where it must not.
    """
    ended: list[EndedInvocation] = []
    while True:
        run, wake_at = reconcile(services, run_id, ended)
        assert not functions.problems, functions.problems[0]
        watch(run)
        if run.ended:
            return run
        patience_s = max(0.0, min(SWEEP_S, wake_at - services.clock.now()))
        ended = [EndedInvocation(parse_task(event), "simulated", None) for event in functions.wait(patience_s)]
