"""Which implementation stands behind each port, in a function's execution environment.

On AWS there is a table: everything of AWS, boto3 included, is imported only then.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from contracts.errors import InvalidSetting, InvocationFailed, LambdafitError
from contracts.messages import TaskMessage
from contracts.ports import Invoker, Objects
from contracts.records import Span, Transfer
from handlers.environment import FunctionEnvironment, read_environment
from runs.services import Services
from runs.transfer import NOTHING, metering, total
from stores.shared_files import FolderFiles
from stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from stores.dynamodb import DynamoStore

INVOKE_ATTEMPTS = 3
"""Of one invocation, within a turn. Who is throttled for longer is offered again when the offer expires."""

IMPORTED_AT = time.time()
"""When this environment's INIT was about to import the handler's own modules."""


class Init:
    """What this environment did before its first task, beginning with INIT: made where a handler's module ends."""

    def __init__(self) -> None:
        self._spans: tuple[Span, ...] = (Span(name="init", start_s=IMPORTED_AT, end_s=time.time()),)
        self._transfers: dict[str, Transfer] = {}

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Record more of it: on the account of the task that comes next."""
        start_s = time.time()
        try:
            yield
        finally:
            self._spans = (*self._spans, Span(name=name, start_s=start_s, end_s=time.time()))

    def take(self) -> tuple[Span, ...]:
        """The spans since the last task."""
        spans, self._spans = self._spans, ()
        return spans

    @contextmanager
    def metering(self, run_id: str) -> Iterator[None]:
        """Measure what is read for a run meanwhile, too."""
        with metering() as meter:
            try:
                yield
            finally:
                self._transfers[run_id] = total([self._transfers.get(run_id, NOTHING), meter.transfer])

    def take_transfer(self, message: TaskMessage) -> Transfer:
        """What was read for a run, for its first train task here: what that kind may read of the data is held back."""
        return self._transfers.pop(message.run_id, NOTHING) if message.key.kind == "train" else NOTHING


class LambdaContext(Protocol):
    """The part of Lambda's context object that handlers use."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is killed."""


class SystemClock:
    """Implements `contracts.ports.Clock`."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()


class SystemRandomness:
    """Implements `contracts.ports.Randomness` from the operating system's generator."""

    def nonce(self) -> str:
        """16 hexadecimal digits."""
        return secrets.token_hex(8)

    def run_id(self) -> str:
        """A fresh run id."""
        return f"r-{secrets.token_hex(5)}"


class ContextDeadline:
    """Implements `contracts.ports.Deadline` on Lambda's context."""

    def __init__(self, context: LambdaContext) -> None:
        self._context = context

    def remaining_s(self) -> float:
        """Seconds until the function is killed."""
        return self._context.get_remaining_time_in_millis() / 1000


class NoInvoker:
    """Workers start nobody: the reconciler does."""

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        """Always refused.

        Raises:
            InvocationFailed: always.
        """
        raise _forbidden(function)

    def invoke_all(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[LambdafitError | None]:
        """All of them refused."""
        return [_forbidden(function) for function, _ in calls]

    def warm_up(self, run_id: str, environments: int) -> None:
        """Nothing."""


def _forbidden(function: str) -> InvocationFailed:
    return InvocationFailed(f"function {function}", "a worker tried to invoke it", "the reconciler to")


@cache
def environment() -> FunctionEnvironment:
    """This function's environment variables."""
    return read_environment()


@cache
def services() -> Services:
    """The ports of this execution environment: made once, kept warm."""
    known = environment()
    store = _dynamo_store(known) if known.table else SqliteStore(known.store_file)
    on_one_machine = known.spares and not known.table
    files = FolderFiles(known.shared_folder, keep_spares=on_one_machine, give_views=on_one_machine)
    return Services(store, store, files, _invoker(known), SystemClock(), SystemRandomness())


@cache
def objects() -> Objects:
    """The bucket.

    Raises:
        InvalidSetting: this function was not told of one.
    """
    bucket = environment().bucket
    if not bucket:
        raise InvalidSetting("LAMBDAFIT_BUCKET", "it is not set", "the name of the stack's bucket")
    from stores.aws_clients import client
    from stores.objects import S3Objects

    return S3Objects(bucket, client("s3"))


def _dynamo_store(known: FunctionEnvironment) -> DynamoStore:
    from stores.aws_clients import client
    from stores.dynamodb import DynamoStore

    return DynamoStore(known.table, client("dynamodb"), telemetry_days=known.telemetry_days)


def _invoker(known: FunctionEnvironment) -> Invoker:
    """Who is told of the functions that do tasks may start them."""
    if not any(known.functions.values()):
        return NoInvoker()
    from handlers.lambda_invoker import LambdaInvoker
    from stores.aws_clients import client

    return LambdaInvoker(known.functions, client("lambda", attempts=INVOKE_ATTEMPTS))
