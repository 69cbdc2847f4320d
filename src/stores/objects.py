"""Objects in an S3 bucket."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contracts.errors import LambdafitError
from contracts.identifiers import check_relative_path
from contracts.ports import ObjectFacts
from contracts.stack_errors import (
    AwsRefused,
    CredentialsMissing,
    ObjectChanged,
    ObjectNotFound,
    ObjectsForbidden,
    ObjectsUnreachable,
)

NOT_THERE = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})
FORBIDDEN = frozenset({"403", "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
CHANGED = frozenset({"412", "PreconditionFailed", "416", "InvalidRange"})
COPY_BYTES = 1 << 20


class S3Objects:
    """Implements `contracts.ports.Objects` in one bucket.

    Args:
        client: of boto3, for "s3".
    """

    def __init__(self, bucket: str, client: Any) -> None:
        self._bucket = bucket
        self._client = client

    def head(self, key: str) -> ObjectFacts:
        """See `Objects.head`."""
        with self._numbered(key):
            answer = self._client.head_object(Bucket=self._bucket, Key=check_relative_path(key))
        return ObjectFacts(key, int(answer["ContentLength"]), str(answer["ETag"]))

    def read(self, key: str) -> bytes:
        """See `Objects.read`."""
        with self._numbered(key):
            answer = self._client.get_object(Bucket=self._bucket, Key=check_relative_path(key))
            content: bytes = answer["Body"].read()
        return content

    def read_into(self, facts: ObjectFacts, offset: int, buffer: Any) -> None:
        """See `Objects.read_into`."""
        view = memoryview(buffer).cast("B")
        if not len(view):
            return
        stretch = f"bytes={offset}-{offset + len(view) - 1}"
        done = 0
        with self._numbered(facts.key):
            body = self._client.get_object(Bucket=self._bucket, Key=facts.key, Range=stretch, IfMatch=facts.etag)[
                "Body"
            ]
            # Straight into the buffer: `read` would hold every stretch twice.
            with contextlib.closing(body):
                while done < len(view) and (piece := body.read(min(COPY_BYTES, len(view) - done))):
                    view[done : done + len(piece)] = piece
                    done += len(piece)
        if done < len(view):
            raise ObjectChanged(self._where(facts.key), f"it ends at byte {offset + done}", f"{facts.bytes} bytes")

    def list(self, prefix: str) -> Sequence[ObjectFacts]:
        """See `Objects.list`."""
        with self._numbered(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            return [
                ObjectFacts(item["Key"], int(item["Size"]), str(item["ETag"]))
                for page in pages
                for item in page.get("Contents", ())
            ]

    def write(self, key: str, data: bytes) -> None:
        """See `Objects.write`."""
        with self._numbered(key):
            self._client.put_object(Bucket=self._bucket, Key=check_relative_path(key), Body=data)

    def write_file(self, key: str, path: Path) -> int:
        """See `Objects.write_file`."""
        with self._numbered(key):
            self._client.upload_file(str(path), self._bucket, check_relative_path(key))
        return path.stat().st_size

    def remove(self, key: str) -> None:
        """See `Objects.remove`."""
        with self._numbered(key):
            self._client.delete_object(Bucket=self._bucket, Key=check_relative_path(key))

    def _where(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"

    @contextmanager
    def _numbered(self, key: str) -> Iterator[None]:
        """What boto3 raises as numbered errors. It is imported by now: whoever made the client did."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            raise _refusal(self._where(key), error.response) from error
        except (BotoCoreError, Boto3Error) as error:
            raise _no_answer(self._where(key), error) from error


def _refusal(where: str, response: Any) -> LambdafitError:
    """What S3 said no to."""
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    received = f"{code}: {response.get('Error', {}).get('Message', '')}".rstrip(": ")
    if code in NOT_THERE:
        return ObjectNotFound(where, "there is no such bucket" if code == "NoSuchBucket" else "it is not there")
    if code in FORBIDDEN:
        return ObjectsForbidden(where, received)
    if code in CHANGED:
        return ObjectChanged(where, "it is another object by now", "the one that was looked at")
    if status >= 500 or status == 429 or code in ("SlowDown", "RequestTimeout", "503"):
        return ObjectsUnreachable(where, received)
    if "Token" in code:
        return CredentialsMissing(where, received)
    return AwsRefused(where, received)


def _no_answer(where: str, error: Exception) -> LambdafitError:
    """What went wrong on the way; upload_file wraps S3's own answers in an exception of its own."""
    cause = error.__cause__ or error.__context__
    response = getattr(cause, "response", None)
    if isinstance(response, dict):
        return _refusal(where, response)
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return CredentialsMissing(where, "no AWS credentials were found", "some")
    return ObjectsUnreachable(where, f"no answer ({type(error).__name__})", "one")
