"""Which IAM action on which resource a request to AWS needs, told from the request alone; and the list of them.

One line of JSON a needed permission: `{"function", "service", "action", "resource", "status"}`. Functions are told
apart by their access keys, which the stand-in hands out.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

KEY_PREFIX = "rehearsal-"
USER = "user"
"""A person's command line, and calls of the HTTP API."""

STAND_IN = "stand-in"
"""The stand-in's own calls, and those of tests: nobody's permissions."""

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d{8}/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request")
_TRANSACTION_PARTS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}
_BATCH_PARTS = {"PutRequest": "PutItem", "DeleteRequest": "DeleteItem"}
Needed = tuple[str, str]
"""IAM action and resource ARN."""


def access_key(caller: str) -> str:
    """The access key by which this caller is known."""
    return f"{KEY_PREFIX}{caller}"


def signed_by(authorization: str) -> tuple[str, str, str]:
    """Caller, region and service of a signed request; empty texts where it is not signed."""
    match = _CREDENTIAL.search(authorization)
    if match is None:
        return "", "", ""
    return match[1].removeprefix(KEY_PREFIX), match[2], match[3]


class Recorder:
    """Appends to a file that other processes may append to as well."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._lock = threading.Lock()

    def note(self, caller: str, needed: Iterable[Needed], status: int) -> None:
        """One line for each."""
        lines = [
            json.dumps(
                {
                    "function": caller,
                    "service": action.partition(":")[0],
                    "action": action,
                    "resource": resource,
                    "status": status,
                }
            )
            for action, resource in needed
        ]
        if lines:
            with self._lock:
                os.write(self._file, ("\n".join(lines) + "\n").encode())

    def close(self) -> None:
        """No more."""
        os.close(self._file)


def read_calls(path: Path) -> list[dict[str, Any]]:
    """All calls recorded in a file, in order."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def needed_permissions(
    service: str, region: str, account: str, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
) -> list[Needed]:
    """What IAM would check for this request.

    Args:
        service: as signed: `dynamodb`, `s3`, `sqs`, `sns`, ….
        headers: names in lower case.
    """
    place = f"{region}:{account}"
    target = headers.get("x-amz-target", "").rpartition(".")[2]
    if service == "s3":
        return _s3(method, unquote(path), parse_qs(query, keep_blank_values=True), headers, body)
    fields: Any = json.loads(body or b"{}") if target else {k: v[0] for k, v in parse_qs(body.decode()).items()}
    if service == "dynamodb":
        return _dynamodb(place, target, fields)
    action = f"{service}:{target or fields.get('Action', '?')}"
    if action == "sts:GetCallerIdentity":
        return []  # allowed to everybody
    if service == "sqs":
        name = fields.get("QueueUrl", "*").rpartition("/")[2] or fields.get("QueueName", "*")
        return [(action, f"arn:aws:sqs:{place}:{name}")]
    if service == "sns":
        return [(action, fields.get("TopicArn") or fields.get("TargetArn") or "*")]
    if service == "cloudformation":
        return [(action, f"arn:aws:cloudformation:{place}:stack/{fields.get('StackName', '*')}/*")]
    return [(action, "*")]


def _dynamodb(place: str, operation: str, fields: Mapping[str, Any]) -> list[Needed]:
    def table(name: str, index: str = "") -> str:
        arn = name if name.startswith("arn:") else f"arn:aws:dynamodb:{place}:table/{name}"
        return f"{arn}/index/{index}" if index else arn

    if "TransactItems" in fields:
        parts = [(kind, part) for item in fields["TransactItems"] for kind, part in item.items()]
        return [
            (f"dynamodb:{_TRANSACTION_PARTS.get(kind, 'GetItem')}", table(part["TableName"])) for kind, part in parts
        ]
    if operation in ("BatchGetItem", "BatchWriteItem"):  # actions of their own, not those of their parts
        return [(f"dynamodb:{operation}", table(name)) for name in fields["RequestItems"]]
    if "StreamArn" in fields:
        return [(f"dynamodb:{operation}", fields["StreamArn"])]
    if "ShardIterator" in fields:
        return [(f"dynamodb:{operation}", fields["ShardIterator"].partition("|")[0])]
    if "TableName" in fields:
        return [(f"dynamodb:{operation}", table(fields["TableName"], fields.get("IndexName", "")))]
    return [(f"dynamodb:{operation}", fields.get("ResourceArn", "*"))]


def _s3(method: str, path: str, query: Mapping[str, Any], headers: Mapping[str, str], body: bytes) -> list[Needed]:
    bucket, _, key = path.lstrip("/").partition("/")
    if not bucket:
        return [("s3:ListAllMyBuckets", "*")]
    whole = f"arn:aws:s3:::{bucket}"
    if key:
        return _s3_object(method, f"{whole}/{key}", query, headers)
    if method == "POST" and "delete" in query:
        keys = re.findall(r"<Key>(.*?)</Key>", body.decode())
        return [(f"s3:DeleteObject{'Version' if b'<VersionId>' in body else ''}", f"{whole}/{one}") for one in keys]
    for name, action in {
        "versions": "ListBucketVersions",
        "uploads": "ListBucketMultipartUploads",
        "location": "GetBucketLocation",
        "versioning": "GetBucketVersioning",
        "encryption": "GetEncryptionConfiguration",
        "policy": "GetBucketPolicy",
    }.items():
        if name in query and method == "GET":
            return [(f"s3:{action}", whole)]
    return [
        (
            f"s3:{ {'GET': 'ListBucket', 'HEAD': 'ListBucket', 'PUT': 'CreateBucket'}.get(method, 'DeleteBucket') }",
            whole,
        )
    ]


def _s3_object(method: str, arn: str, query: Mapping[str, Any], headers: Mapping[str, str]) -> list[Needed]:
    version = "Version" if "versionId" in query else ""
    if method in ("GET", "HEAD"):
        return [("s3:ListMultipartUploadParts", arn)] if "uploadId" in query else [(f"s3:GetObject{version}", arn)]
    if method == "DELETE":
        return [("s3:AbortMultipartUpload" if "uploadId" in query else f"s3:DeleteObject{version}", arn)]
    source = headers.get("x-amz-copy-source")
    copied = [("s3:GetObject", f"arn:aws:s3:::{unquote(source).lstrip('/')}")] if source else []
    return [("s3:PutObject", arn), *copied]
