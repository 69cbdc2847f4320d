"""Runs in a deployed stack. Nothing is conducted from here: the stack's own functions do, whether anybody looks or not.

What happens here is a beginning (recipe and data brought to where the functions find them, functions woken, the start
asked for), and single conditional writes into the run store: a stop, a resume.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import xxhash

from contracts.errors import InvalidMessage, LambdafitError, RecipeFailed, WeightsNotFound, WeightsUnfit
from contracts.records import Run
from contracts.stack_errors import LibrariesMissing, MountFailed, StackVersionDiffers
from engines.aws_stack.account import Account
from engines.aws_stack.bucket import Bucket
from engines.aws_stack.datasets import Begin
from engines.aws_stack.far_files import FilesOutOfReach
from engines.aws_stack.functions import Functions
from engines.aws_stack.stack import Stack
from handlers import wiring
from libraries.sources import POINTER
from runs import control, start
from runs.code_version import code_version
from runs.recipe_summary import RecipeSummary
from runs.services import Services
from runs.start import EngineLimits
from runs.weights import Wanted, mark
from stores.dynamodb import DynamoStore
from training.weights import WEIGHTS, file_digest, shared_path

WORKERS_FUNCTIONS = ("prepare", "train", "combine")
"""What a run needs in the VPC: woken before it starts."""

NO_LIBRARIES = "none"
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
        return start.lambda_limits(
            workers=self.stack.workers_ceiling,
            threads=1,
            time_limit_s=self.stack.time_limit_s,
            memory_mb=self.stack.memory_mb,
        )

    def check_libraries(self) -> None:
        """Whether the workers will find TensorFlow.

        Raises:
            LibrariesMissing: they will not.
        """
        found = self.bucket.read_json(POINTER)
        key = str(found.get("key")) if found else ""
        if not key or key not in self.bucket.keys(key):  # listed: who may start runs may not read the archive
            raise LibrariesMissing(self.stack.place, f"s3://{self.bucket.name}/{POINTER} names no archive")

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
                problem = f"it cannot write to the file system ({answer.get('problem', 'no reason given')})"
                raise MountFailed(where, problem)
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

    def has_object(self, key: str) -> bool:
        """Whether the stack's bucket holds an object."""
        return self.bucket.size(key) is not None

    def keep_weights(self, wanted: Wanted, begin: Begin) -> None:
        """Bring a backbone's weights to where the functions take them from, unless they are there.

        Args:
            begin: told before something is uploaded.
        Raises:
            WeightsNotFound: a path in the bucket was given, and there is nothing.
        """
        location, file = wanted.location, wanted.file
        if location and file is None and not self.has_object(location):
            raise WeightsNotFound(f"--set {WEIGHTS}", f"s3://{self.bucket.name} has no {location}")
        if not location or file is None:
            return
        length, digest = file.stat().st_size, file_digest(file)
        if shared_path(digest) != location:
            received = "it was changed while it was being read"
            raise WeightsUnfit(f"weights {file}", received, "a file at rest", advice="Start again.")
        if not self.bucket.holds(location, length, digest):
            self.bucket.upload(file, location, digest, begin(f"weights {file.name}", length))
        if not self.has_object(mark(wanted)):
            self.bucket.write(mark(wanted), b"")

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
