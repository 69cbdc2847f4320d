"""A stack's functions: called for their answer, and woken before a run needs them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from contracts.error_catalogue import error_from_record
from contracts.errors import ErrorRecord, LambdafitError
from contracts.function_errors import error_in_answer
from contracts.stack_errors import (
    AwsUnreachable,
    FunctionNotFound,
    FunctionNotReady,
    FunctionThrottled,
    MountFailed,
    StackDamaged,
)
from engines.aws_stack.account import THREADS, aws_errors, error_code

BETWEEN_TRIES_S = 5.0
WAKE_LIMIT_S = 300.0
"""Network interfaces take one to two minutes to come back."""

CALL_PATIENCE_S = 20.0
PROBE = {"probe": True}
PASSING = (FunctionNotReady, FunctionThrottled, MountFailed)
"""What goes away by itself."""


class Functions:
    """The functions of one stack.

    Args:
        client: boto3's of Lambda.
        names: lambdafit's name → the name on AWS.
        place: how messages name the stack.
        sleep, now: the clock.
    """

    def __init__(
        self,
        client: Any,
        names: Mapping[str, str],
        place: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._names = names
        self._place = place
        self._sleep = sleep
        self._now = now

    def call(
        self,
        function: str,
        event: Mapping[str, Any],
        *,
        patience_s: float = CALL_PATIENCE_S,
        repeatable: bool = False,
        tell: Callable[[LambdafitError], None] | None = None,
    ) -> Any:
        """Invoke a function and wait for its answer.

        Args:
            patience_s: how long to try again where AWS could not run it at all.
            repeatable: whether twice does no harm, so that a lost connection is no reason to give up.
            tell: told of each such refusal.
        Raises:
            LambdafitError: what the function failed of, as if it had been called here.
            FunctionThrottled, FunctionNotReady, MountFailed: AWS could not run it, to the last.
            FunctionNotFound: the stack has lost it.
        """
        until = self._now() + patience_s
        passing = (*PASSING, AwsUnreachable) if repeatable else PASSING
        while True:
            try:
                return self._call_once(function, event)
            except passing as error:
                if self._now() + BETWEEN_TRIES_S > until:
                    raise
                if tell is not None:
                    tell(error)
                self._sleep(BETWEEN_TRIES_S)

    def wake(
        self,
        functions: Iterable[str],
        tell: Callable[[str, LambdafitError], None],
        *,
        patience_s: float = WAKE_LIMIT_S,
    ) -> dict[str, dict[str, Any]]:
        """Probe functions side by side, until each one answers.

        Functions in a VPC that nobody has called for weeks have lost their network interfaces: the first call fails,
        and has them made again.

        Args:
            tell: told, from several threads, which function is not there yet and why.
        Returns:
            each one's answer: shared_writable, libraries, code_version.
        Raises:
            FunctionNotReady, MountFailed, …: one of them does not come back.
        """
        wanted = list(functions)

        def probe(function: str) -> dict[str, Any]:
            answer = self.call(
                function, PROBE, patience_s=patience_s, repeatable=True, tell=lambda error: tell(function, error)
            )
            if not isinstance(answer, dict) or not answer.get("probe"):
                raise StackDamaged(f"{self._place}, function {function}", f"it answers a probe with {answer!r}")
            return answer

        with ThreadPoolExecutor(max_workers=min(THREADS, len(wanted))) as pool:
            return dict(zip(wanted, pool.map(probe, wanted), strict=True))

    def _call_once(self, function: str, event: Mapping[str, Any]) -> Any:
        where = f"{self._place}, function {function}"
        name = self._names[function]
        with aws_errors(where):
            try:
                response = self._client.invoke(FunctionName=name, Payload=json.dumps(event).encode())
            except ClientError as error:
                if error_code(error) == "ResourceNotFoundException":
                    raise FunctionNotFound(where, f"there is no function {name}") from error
                raise
            body: bytes = response["Payload"].read()
        if response.get("FunctionError"):
            raise error_in_answer(body, function)
        answer = json.loads(body or b"null")
        if isinstance(answer, dict) and set(answer) == {"error"}:
            raise error_from_record(msgspec.convert(answer["error"], ErrorRecord))
        return answer
