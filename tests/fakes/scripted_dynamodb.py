"""A DynamoDB client that fails as it is told to, before or after the real one has done its work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

Failure = ClientError | BotoCoreError


class ScriptedClient:
    """Wraps a client. Requests are recorded by operation; failures come in the order in which they were asked for."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.requests: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._before: dict[str, list[Failure]] = defaultdict(list)
        self._after: dict[str, list[Failure]] = defaultdict(list)
        self._changed: dict[str, list[Callable[[dict[str, Any]], dict[str, Any]]]] = defaultdict(list)

    def refuse(self, operation: str, *failures: Failure) -> None:
        """The next requests fail and are not carried out."""
        self._before[operation] += failures

    def lose_answers(self, operation: str, *failures: Failure) -> None:
        """The next requests are carried out, and then fail: nobody learns that they succeeded."""
        self._after[operation] += failures

    def change_requests(self, operation: str, *changes: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """The next requests are answered by these functions of the request."""
        self._changed[operation] += changes

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def send(**request: Any) -> Any:
            self.requests[operation].append(request)
            if self._before[operation]:
                raise self._before[operation].pop(0)
            if self._changed[operation]:
                return self._changed[operation].pop(0)(request)
            answer = getattr(self._client, operation)(**request)
            if self._after[operation]:
                raise self._after[operation].pop(0)
            return answer

        return send


def refusal(code: str, status: int = 400, text: str = "", retries: int = 0, reasons: Sequence[str] = ()) -> ClientError:
    """An error as DynamoDB answers it."""
    response: dict[str, Any] = {
        "Error": {"Code": code, "Message": text or code},
        "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": retries},
    }
    if reasons:
        response["CancellationReasons"] = [{"Code": reason} for reason in reasons]
    return ClientError(response, "AnyOperation")
