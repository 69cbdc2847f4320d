"""The stack's S3 bucket: data sets, recipes, libraries and exported models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from contracts.stack_errors import AwsRefused
from engines.aws_stack.account import Account, aws_errors, error_code

MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
DIGEST = "xxh3-128"
"""Name of the metadata that says what an object's bytes hash to."""

DELETE_AT_ONCE = 1_000
"""DeleteObjects takes no more (AWS)."""

Progress = Callable[[int], None]
"""Told of bytes as they move, from several threads."""


def no_progress(_bytes: int) -> None:
    """For small things."""


class Bucket:
    """One bucket."""

    def __init__(self, account: Account, name: str) -> None:
        self._client = account.client("s3")
        self.name = name

    def size(self, key: str) -> int | None:
        """An object's bytes; None where there is none."""
        head = self._head(key)
        return None if head is None else int(head["ContentLength"])

    def holds(self, key: str, length: int, digest: str) -> bool:
        """Whether an object is there that was uploaded with this length and digest."""
        head = self._head(key)
        return head is not None and head["ContentLength"] == length and head["Metadata"].get(DIGEST) == digest

    def read(self, key: str) -> bytes | None:
        """A small object; None where there is none."""
        with aws_errors(self._where(key)):
            try:
                body: bytes = self._client.get_object(Bucket=self.name, Key=key)["Body"].read()
            except ClientError as error:
                if error_code(error) in MISSING:
                    return None
                raise
        return body

    def read_json(self, key: str) -> dict[str, Any] | None:
        """A small object of JSON; None where there is none.

        Raises:
            AwsRefused: it is no JSON object.
        """
        body = self.read(key)
        if body is None:
            return None
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise AwsRefused(self._where(key), "it is no JSON object", "one", advice="Upload it again.")
        return found

    def write(self, key: str, body: bytes, digest: str = "") -> None:
        """A small object, whole or not at all."""
        with aws_errors(self._where(key)):
            self._client.put_object(Bucket=self.name, Key=key, Body=body, Metadata={DIGEST: digest} if digest else {})

    def upload(self, path: Path, key: str, digest: str, progress: Progress = no_progress) -> bool:
        """A file, in parallel parts, unless it is there already.

        Returns:
            whether it was uploaded.
        """
        length = path.stat().st_size
        if self.holds(key, length, digest):
            progress(length)
            return False
        with aws_errors(self._where(key)):
            self._client.upload_file(
                str(path), self.name, key, ExtraArgs={"Metadata": {DIGEST: digest}}, Callback=progress
            )
        return True

    def download(self, key: str, path: Path, progress: Progress = no_progress) -> None:
        """An object into a file, which is whole or not there."""
        with aws_errors(self._where(key)):
            self._client.download_file(self.name, key, str(path), Callback=progress)

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that begin so."""
        with aws_errors(self._where(prefix)):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                yield from (item["Key"] for item in page.get("Contents", []))

    def remove(self, key: str) -> None:
        """Remove an object. No error where there is none."""
        with aws_errors(self._where(key)):
            self._client.delete_object(Bucket=self.name, Key=key)

    def remove_all(self, prefix: str = "", progress: Progress = no_progress) -> int:
        """Remove all versions of all objects that begin so, and what marks them as deleted.

        Returns:
            how many versions there were.
        """
        removed = 0
        with aws_errors(self._where(prefix or "all objects")):
            for page in self._client.get_paginator("list_object_versions").paginate(Bucket=self.name, Prefix=prefix):
                found = [
                    {"Key": item["Key"], "VersionId": item["VersionId"]}
                    for kind in ("Versions", "DeleteMarkers")
                    for item in page.get(kind, [])
                ]
                for first in range(0, len(found), DELETE_AT_ONCE):
                    batch = found[first : first + DELETE_AT_ONCE]
                    answer = self._client.delete_objects(Bucket=self.name, Delete={"Objects": batch, "Quiet": True})
                    for failed in answer.get("Errors", []):
                        raise AwsRefused(self._where(failed["Key"]), f"{failed['Code']}: {failed.get('Message', '')}")
                    removed += len(batch)
                    progress(len(batch))
        return removed

    def _head(self, key: str) -> dict[str, Any] | None:
        with aws_errors(self._where(key)):
            try:
                head: dict[str, Any] = self._client.head_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if error_code(error) in MISSING:
                    return None
                raise
        return head

    def _where(self, key: str) -> str:
        return f"s3://{self.name}/{key}"
