"""What every implementation of the objects promises: S3 (moto stands in for it) and a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from contracts.errors import InvalidMessage, LambdafitError
from contracts.ports import Objects
from contracts.stack_errors import (
    AwsRefused,
    CredentialsMissing,
    ObjectChanged,
    ObjectNotFound,
    ObjectsForbidden,
    ObjectsUnreachable,
)
from fakes.folder_objects import FolderObjects
from stores.objects import S3Objects

BUCKET = "lambdafit-test"
CONTENT = bytes(range(256)) * 5


@pytest.fixture(params=["s3", "folder"])
def objects(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Objects]:
    if request.param == "folder":
        yield FolderObjects(tmp_path / "bucket")
        return
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield S3Objects(BUCKET, client)


def test_an_object_is_read_back_as_it_was_written(objects: Objects) -> None:
    objects.write("datasets/a/meta.json", CONTENT)
    assert objects.read("datasets/a/meta.json") == CONTENT
    facts = objects.head("datasets/a/meta.json")
    assert (facts.key, facts.bytes) == ("datasets/a/meta.json", len(CONTENT))


def test_a_stretch_of_an_object_fills_a_buffer(objects: Objects) -> None:
    objects.write("a", CONTENT)
    facts = objects.head("a")
    buffer = bytearray(300)
    objects.read_into(facts, 10, buffer)
    assert bytes(buffer) == CONTENT[10:310]
    objects.read_into(facts, len(CONTENT), bytearray())


def test_a_file_becomes_an_object(objects: Objects, tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(CONTENT)
    assert objects.write_file("exports/r-7f/model.keras", tmp_path / "model.keras") == len(CONTENT)
    assert objects.read("exports/r-7f/model.keras") == CONTENT


def test_writing_again_replaces_the_object_and_its_etag(objects: Objects) -> None:
    objects.write("a", CONTENT)
    before = objects.head("a")
    objects.write("a", CONTENT[::-1])
    assert objects.read("a") == CONTENT[::-1]
    assert objects.head("a").etag != before.etag
    with pytest.raises(ObjectChanged, match="E324"):
        objects.read_into(before, 0, bytearray(10))


def test_a_stretch_beyond_the_end_is_a_change(objects: Objects) -> None:
    objects.write("a", b"abc")
    for offset, count in ((1, 3), (3, 1), (9, 1)):
        with pytest.raises(ObjectChanged):
            objects.read_into(objects.head("a"), offset, bytearray(count))


def test_what_is_not_there_is_said_so(objects: Objects) -> None:
    for look in (objects.head, objects.read):
        with pytest.raises(ObjectNotFound, match=r"E321 .*nothing"):
            look("nothing")
    objects.write("a", b"abc")
    facts = objects.head("a")
    objects.remove("a")
    objects.remove("a")
    with pytest.raises(ObjectNotFound):
        objects.read_into(facts, 0, bytearray(1))


def test_objects_are_listed_by_prefix_in_order(objects: Objects) -> None:
    for key in ("datasets/b", "datasets/a/x", "recipes/c", "datasets/a/y"):
        objects.write(key, key.encode())
    found = objects.list("datasets/")
    assert [(facts.key, facts.bytes) for facts in found] == [
        ("datasets/a/x", 12),
        ("datasets/a/y", 12),
        ("datasets/b", 10),
    ]
    assert objects.list("nothing") == []


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a/../../x", ""])
def test_no_key_leaves_the_bucket(objects: Objects, key: str) -> None:
    for use in (objects.head, objects.read, objects.remove):
        with pytest.raises(InvalidMessage, match="E109"):
            use(key)
    with pytest.raises(InvalidMessage):
        objects.write(key, b"x")


class FailingClient:
    """Answers every request with one error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, operation: str) -> Any:
        def fail(**_: Any) -> Any:
            raise self._error

        return fail


def refused(code: str, status: int) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "GetObject")


class TestS3Alone:
    """What only S3 can answer, each as its numbered error."""

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (refused("NoSuchBucket", 404), ObjectNotFound),
            (refused("404", 404), ObjectNotFound),
            (refused("AccessDenied", 403), ObjectsForbidden),
            (refused("403", 403), ObjectsForbidden),
            (refused("SlowDown", 503), ObjectsUnreachable),
            (refused("InternalError", 500), ObjectsUnreachable),
            (refused("ExpiredToken", 400), CredentialsMissing),
            (refused("PermanentRedirect", 301), AwsRefused),
            (EndpointConnectionError(endpoint_url="https://s3"), ObjectsUnreachable),
        ],
    )
    def test_refusals_are_numbered(self, error: Exception, expected: type[LambdafitError]) -> None:
        objects = S3Objects(BUCKET, FailingClient(error))
        with pytest.raises(expected) as raised:
            objects.head("datasets/a")
        assert f"s3://{BUCKET}/datasets/a" in str(raised.value)

    @mock_aws
    def test_an_upload_to_a_bucket_that_is_gone_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        (tmp_path / "a").write_bytes(b"1")
        objects = S3Objects("gone", boto3.client("s3", region_name="us-east-1"))
        with pytest.raises(ObjectNotFound, match="no such bucket"):
            objects.write_file("a", tmp_path / "a")
