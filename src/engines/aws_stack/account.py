"""An AWS account as lambdafit reaches it: boto3's clients, and AWS's refusals as numbered errors.

Credentials, profile, region and endpoints come from where every AWS program takes them: boto3's own chain.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import boto3
import botocore.exceptions as aws
from boto3.exceptions import Boto3Error
from botocore.config import Config

from contracts.errors import LambdafitError
from contracts.stack_errors import (
    AccessDenied,
    AwsRefused,
    AwsUnreachable,
    CredentialsMissing,
    FunctionNotReady,
    FunctionThrottled,
    MountFailed,
    RegionMissing,
)

LONGEST_FUNCTION_S = 900
"""Lambda's own limit (AWS: 900 s)."""

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
THREADS = 32

AWS_ERRORS = (aws.BotoCoreError, aws.ClientError, Boto3Error)
"""All that boto3 raises."""

_CREDENTIALS = (
    aws.NoCredentialsError,
    aws.PartialCredentialsError,
    aws.CredentialRetrievalError,
    aws.TokenRetrievalError,
    aws.SSOError,
    aws.ProfileNotFound,
    aws.InvalidConfigError,
)
_UNREACHABLE = (aws.HTTPClientError, aws.EndpointConnectionError, aws.ConnectionError)
_CODES: Mapping[type[LambdafitError], frozenset[str]] = {
    CredentialsMissing: frozenset(
        {
            "ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId", "InvalidAccessKeyId",
            "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException", "AuthFailure",
            "InvalidToken", "TokenRefreshRequired", "MissingAuthenticationToken", "IncompleteSignature",
        }
    ),
    AccessDenied: frozenset(
        {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedException", "AllAccessDisabled",
         "403", "Forbidden"}
    ),
    FunctionThrottled: frozenset(
        {"TooManyRequestsException", "ThrottlingException", "Throttling", "ThrottledException", "SlowDown",
         "RequestLimitExceeded"}
    ),
    MountFailed: frozenset(
        {"EFSIOException", "EFSMountConnectivityException", "EFSMountFailureException", "EFSMountTimeoutException"}
    ),
    FunctionNotReady: frozenset(
        {
            "ResourceNotReadyException", "ResourceConflictException", "ENINotReadyException", "EC2ThrottledException",
            "EC2UnexpectedException", "ENILimitReachedException", "SubnetIPAddressLimitReachedException",
        }
    ),
    AwsUnreachable: frozenset(
        {"ServiceException", "InternalError", "InternalFailure", "InternalServerError", "ServiceUnavailable", "500",
         "503", "502"}
    ),
}  # fmt: skip


class Account:
    """Clients of one account and region, each made when it is first used.

    Args:
        region: empty for that of the environment or profile.
        profile: empty for that of the environment.
    """

    def __init__(self, region: str = "", profile: str = "") -> None:
        self._region_asked = region
        self._profile = profile
        self._clients: dict[str, Any] = {}

    @cached_property
    def session(self) -> Any:
        """boto3's session.

        Raises:
            CredentialsMissing: there is no such profile.
        """
        # boto3 reads AWS_DEFAULT_REGION alone; AWS_REGION is what everybody else, Lambda included, goes by.
        region = self._region_asked or os.environ.get("AWS_REGION") or None
        with aws_errors("AWS"):
            return boto3.Session(region_name=region, profile_name=self._profile or None)

    @property
    def region(self) -> str:
        """The region that is worked in.

        Raises:
            RegionMissing: none is named anywhere.
        """
        region = self.session.region_name
        if not region:
            raise RegionMissing("AWS", "no region is named")
        return str(region)

    def client(self, service: str) -> Any:
        """The client of a service, safe to use from many threads.

        Raises:
            RegionMissing: no region is named, or there is none of that name.
        """
        if service not in self._clients:
            with aws_errors(service):
                self._clients[service] = self.session.client(service, region_name=self.region, config=_config(service))
        return self._clients[service]


def _config(service: str) -> Config:
    if service == "lambda":
        # A call may take as long as a function. Nothing is repeated behind our back: an invocation is no read.
        return Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=LONGEST_FUNCTION_S + 30,
            retries={"total_max_attempts": 1},
            max_pool_connections=THREADS,
            tcp_keepalive=True,
        )
    return Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=THREADS,
    )


@contextmanager
def aws_errors(where: str) -> Iterator[None]:
    """Turns what boto3 raises in the block into a numbered error about `where`."""
    try:
        yield
    except AWS_ERRORS as error:
        raise numbered(error, where) from error


def numbered(error: BaseException, where: str) -> LambdafitError:
    """What boto3 raised as a numbered error."""
    if isinstance(error, aws.ClientError):
        return _refusal(error, where)
    text = str(error).rstrip(".")
    if isinstance(error, _CREDENTIALS):
        return CredentialsMissing(where, text)
    if isinstance(error, (aws.NoRegionError, aws.InvalidRegionError)):
        return RegionMissing(where, text)
    if isinstance(error, _UNREACHABLE):
        return AwsUnreachable(where, text)
    cause = getattr(error, "__cause__", None) or getattr(error, "__context__", None)
    if isinstance(cause, aws.ClientError):
        return _refusal(cause, where)
    return AwsRefused(where, f"{type(error).__name__}: {text}")


def error_code(error: aws.ClientError) -> str:
    """AWS's name of the refusal."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _refusal(error: aws.ClientError, where: str) -> LambdafitError:
    code = error_code(error)
    message = str(error.response.get("Error", {}).get("Message", "")).rstrip(".")
    text = f"{code} on {error.operation_name}" + (f": {message}" if message else "")
    kind = next((kind for kind, codes in _CODES.items() if code in codes), AwsRefused)
    return kind(where, text)
