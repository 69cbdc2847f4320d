"""Runs in a deployed stack. Nothing is conducted from here: the stack's own functions do, whether anybody looks or not.

What happens here is a beginning (recipe and data brought to where the functions find them, functions woken, the start
asked for), and single conditional writes into the run store: a stop, a resume.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import xxhash

from contracts.errors import (
    HomeNotWritable,
    InvalidMessage,
    LambdafitError,
    LibrariesMissing,
    RecipeFailed,
    StackVersionDiffers,
)
from contracts.ports import OpenFile
from contracts.records import Run
from engines.aws_stack.account import Account
from engines.aws_stack.bucket import Bucket
from engines.aws_stack.functions import Functions
from engines.aws_stack.stack import Stack
from handlers import wiring
from runs import control
from runs.code_version import code_version
from runs.recipe_summary import RecipeSummary
from runs.services import Services
from runs.start import EngineLimits
from stores.dynamodb import DynamoStore

WORKERS_FUNCTIONS = ("prepare", "train", "combine")
"""What a run needs in the VPC: woken before it starts."""

CURRENT_LIBRARIES = "libraries/current.json"
NO_LIBRARIES = "none"
MB_OF_ONE_CORE = 1_769
"""Lambda's share of processors grows with memory (AWS: 1,769 MB are one virtual CPU)."""

Tell = Callable[[str, LambdafitError], None]


class AwsEngine:
    """One stack, as runs are started in it and looked at.

    Args:
        sleep, now: the clock of whoever waits for functions.
    """

    def __init__(
        self,
        account: Account,
        stack: Stack,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.account = account
        self.stack = stack
        self.functions = Functions(account.client("lambda"), stack.functions, stack.place, sleep=sleep, now=now)
        self.bucket = Bucket(account, stack.bucket)
        store = DynamoStore(stack.table, account.client("dynamodb"))
        clock, randomness = wiring.SystemClock(), wiring.SystemRandomness()
        self.services = Services(store, store, FilesOutOfReach(stack.place), wiring.NoInvoker(), clock, randomness)

    @classmethod
    def open(cls, account: Account, stack_name: str) -> Self:
        """The engine of a stack.

        Raises:
            StackNotFound, StackNotReady, StackVersionDiffers: there is no stack to work with.
        """
        return cls(account, Stack.find(account, stack_name))

    def limits(self) -> EngineLimits:
        """What the stack, not the user, decides."""
        cores = max(1, self.stack.memory_mb // MB_OF_ONE_CORE)
        ceiling = self.stack.workers_ceiling
        return EngineLimits(
            concurrency=ceiling,
            cores=cores * ceiling,
            time_limit_s=self.stack.time_limit_s,
            memory_mb=self.stack.memory_mb,
        )

    def check_libraries(self) -> None:
        """Whether the workers will find TensorFlow.

        Raises:
            LibrariesMissing: they will not.
        """
        found = self.bucket.read_json(CURRENT_LIBRARIES)
        if found is None or self.bucket.size(str(found.get("key"))) is None:
            raise LibrariesMissing(self.stack.place, f"s3://{self.bucket.name}/{CURRENT_LIBRARIES} names no archive")

    def wake(self, tell: Tell, functions: Sequence[str] = WORKERS_FUNCTIONS) -> None:
        """Probe the functions that a run needs, until each one answers.

        Raises:
            FunctionNotReady, MountFailed, FunctionThrottled: one does not come back.
            StackVersionDiffers: one's arithmetic is not that of the code here.
            LibrariesMissing: they were to be on the file system, and are not.
        """
        for function, answer in self.functions.wake(functions, tell).items():
            where = f"{self.stack.place}, function {function}"
            if answer.get("code_version") != code_version():
                raise StackVersionDiffers(where, f"its code is {answer.get('code_version')}", code_version())
            if answer.get("shared_writable") is False:
                raise HomeNotWritable(where, "it cannot write to the file system", advice="`lambdafit deploy`.")
            on_files = self.stack.outputs["LibrariesSource"] == "efs" and function == "train"
            if on_files and answer.get("libraries", NO_LIBRARIES) == NO_LIBRARIES:
                raise LibrariesMissing(where, "it finds no libraries on the file system")

    def keep_recipe(self, path: str, summary: RecipeSummary) -> None:
        """Bring a user's own recipe to where the functions take it from.

        Raises:
            RecipeFailed: the file is not the one that was described.
        """
        source = Path(path).read_bytes()
        if xxhash.xxh3_128_hexdigest(source) != summary.digest:
            raise RecipeFailed(path, "it was changed while it was being read", "a file at rest", advice="Start again.")
        if not self.bucket.holds(summary.location, len(source), summary.digest):
            self.bucket.write(summary.location, source, summary.digest)

    def start(
        self,
        request: Mapping[str, Any],
        recipe: RecipeSummary,
        overrides: Mapping[str, str],
        data_folder: str,
    ) -> str:
        """Have the stack start a run.

        Args:
            request: options, as a start event holds them.
            recipe: a built-in one goes by its name, a user's own as it was described here.
        Returns:
            the run's id.
        Raises:
            LambdafitError: what was wrong with the request, as if it had been started here.
        """
        run_id = self.services.randomness.run_id()
        own = recipe.location.endswith(".py")
        which = {"recipe_summary": msgspec.to_builtins(recipe)} if own else {"recipe": recipe.location}
        event = {"start": True, **request, **which, "overrides": dict(overrides), "run_id": run_id}
        if data_folder:
            event["data_folder"] = data_folder
        answer = self.functions.call("start", event, repeatable=True)
        if not isinstance(answer, dict) or answer.get("run_id") != run_id:
            raise InvalidMessage(f"{self.stack.place}, function start", f"it answers {answer!r}", f"run {run_id}")
        return run_id

    def cancel(self, run_id: str) -> Run:
        """End a run. The stack's functions see the write in the table's stream."""
        return control.cancel(self.services, run_id)

    def resume(self, run_id: str, changes: Mapping[str, Any]) -> Run:
        """Let a run go on. The write itself, in the table's stream, wakes the stack's conductor.

        Raises:
            NotResumable: the run is finished.
            CodeChanged: it began with other code.
        """
        settings = self.services.store.load_run(run_id).settings
        now = {"time_limit_s": self.stack.time_limit_s, "memory_mb": self.stack.memory_mb}
        limits = {name: value for name, value in now.items() if getattr(settings, name) != value}
        return control.resume(self.services, run_id, limits | dict(changes), engine_was_lost=False)


class FilesOutOfReach:
    """Implements `contracts.ports.SharedFiles` where there are none: only functions mount the stack's file system."""

    def __init__(self, place: str) -> None:
        self._place = place

    def write(self, path: str, buffers: Iterable[Any], *, durable: bool) -> int:
        """Always refused."""
        raise self._refused(path)

    def open(self, path: str) -> OpenFile:
        """Always refused."""
        raise self._refused(path)

    def read_into(self, path: str, offset: int, buffer: Any) -> None:
        """Always refused."""
        raise self._refused(path)

    def read(self, path: str) -> bytes:
        """Always refused."""
        raise self._refused(path)

    def exists(self, path: str) -> bool:
        """Always refused."""
        raise self._refused(path)

    def names(self, path: str) -> Sequence[str]:
        """Always refused."""
        raise self._refused(path)

    def remove(self, path: str) -> None:
        """Always refused."""
        raise self._refused(path)

    def local_path(self, path: str) -> str:
        """Always refused."""
        raise self._refused(path)

    def _refused(self, path: str) -> HomeNotWritable:
        return HomeNotWritable(path, f"it lies on the file system of {self._place}", "a file of this machine")
