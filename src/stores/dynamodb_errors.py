"""What DynamoDB's refusals and a broken network mean: worth another try, or a numbered error."""

from __future__ import annotations

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)

from contracts.errors import LambdafitError
from contracts.stack_errors import ItemTooLarge, StoreRefused, StoreUnreachable, TableNotFound

CONDITION_FAILED = "ConditionalCheckFailedException"
CANCELLED = "TransactionCanceledException"
CONDITION_REASON = "ConditionalCheckFailed"
NO_REASON = "None"

BUSY = frozenset(
    {
        "InternalServerError",
        "InternalFailure",
        "LimitExceededException",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "ThrottledException",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TransactionConflict",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
"""Codes of requests, and reasons of cancelled transactions, that pass by themselves."""

MISSING = frozenset({"ResourceNotFoundException", "TableNotFoundException"})
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
DENIED_ADVICE = "Attach the stack's user policy (output UserPolicyArn) to whoever calls."
CREDENTIALS_ADVICE = "Set or renew the AWS credentials: `aws sso login`, `aws configure`, or the AWS_… variables."

_NETWORK = (ConnectionError, HTTPClientError)
_CREDENTIALS = (CredentialRetrievalError, NoCredentialsError, PartialCredentialsError, SSOError, TokenRetrievalError)


def code(error: ClientError | BotoCoreError) -> str:
    """DynamoDB's name for the error, or botocore's."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return type(error).__name__


def passes(error: ClientError | BotoCoreError) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, _NETWORK):
        return True
    if not isinstance(error, ClientError):
        return False
    if code(error) == CANCELLED:
        found = {reason.get("Code", NO_REASON) for reason in reasons(error)} - {NO_REASON}
        return bool(found) and found <= BUSY
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return code(error) in BUSY or status >= 500


def reasons(error: ClientError) -> list[dict[str, object]]:
    """Why a transaction was cancelled: one reason an action, in order."""
    found: list[dict[str, object]] = error.response.get("CancellationReasons", [])
    return found


def tried_before(error: ClientError | BotoCoreError) -> bool:
    """Whether botocore itself has sent the request more than once: an earlier one may have been carried out."""
    if not isinstance(error, ClientError):
        return False
    return int(error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)) > 0


def answer_is_lost(error: ClientError | BotoCoreError) -> bool:
    """Whether nobody knows if the request was carried out: no answer came, or one that says nothing about it."""
    if not isinstance(error, ClientError):
        return passes(error)
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) >= 500


def numbered(error: ClientError | BotoCoreError, table: str, operation: str) -> LambdafitError:
    """The error as one of lambdafit's own."""
    where, name, text = f"table {table} {operation}", code(error), str(error)
    if passes(error):
        return StoreUnreachable(where, text)
    if name in MISSING:
        return TableNotFound(f"table {table}", text)
    if name in DENIED:
        return StoreRefused(where, text, advice=DENIED_ADVICE)
    if isinstance(error, _CREDENTIALS) or "Token" in name or "Signature" in name or "UnrecognizedClient" in name:
        return StoreRefused(where, text, advice=CREDENTIALS_ADVICE)
    if name == "ValidationException" and "size" in text:
        return ItemTooLarge(where, text)
    return StoreRefused(where, text)
