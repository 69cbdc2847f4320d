"""Whoever can write the bucket cannot change what the workers import: the digest is a parameter of the stack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from contracts.errors import InvalidSetting
from contracts.stack_errors import ArchiveCorrupted, ArchiveNotFound
from engines.aws_stack import libraries_upload
from fakes.folder_objects import FolderObjects
from handlers import install_libraries, wiring
from handlers.environment import read_environment
from handlers.warm_trainer import places
from libraries import load
from libraries.install import install
from libraries.sources import POINTER, archive_key
from security.small_archive import EVIL, GOOD, small_archive

TEMPLATE = Path(__file__).parents[2] / "template.yaml"


@pytest.fixture
def bucket(tmp_path: Path) -> FolderObjects:
    """As deployed, and then visited by somebody who can write there."""
    return FolderObjects(tmp_path / "bucket")


def put(bucket: FolderObjects, content: bytes, digest: str, *, under: str = "") -> None:
    bucket.write(archive_key(under or digest), content)
    pointer = {"digest": digest, "key": archive_key(digest), "bytes": len(content)}
    bucket.write(POINTER, json.dumps(pointer).encode())


@pytest.fixture
def in_s3(bucket: FolderObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[load.Places]:
    monkeypatch.setattr(load, "_loaded", None)
    monkeypatch.syspath_prepend(str(tmp_path))  # so that sys.path is as before afterwards
    yield load.Places("s3", tmp_path / "shared", lambda: bucket, tmp_path / "temporary", digest="")


def test_the_deployed_archive_is_loaded(in_s3: load.Places, bucket: FolderObjects) -> None:
    good, digest = small_archive(GOOD)
    put(bucket, good, digest)
    assert load.ensure(replace(in_s3, digest=digest)).digest == digest


def test_another_archive_with_its_pointer_is_not_even_looked_at(in_s3: load.Places, bucket: FolderObjects) -> None:
    (good, digest), (evil, other) = small_archive(GOOD), small_archive(EVIL)
    put(bucket, good, digest)
    put(bucket, evil, other)
    assert load.ensure(replace(in_s3, digest=digest)).digest == digest


def test_another_archive_in_its_place_is_refused(in_s3: load.Places, bucket: FolderObjects) -> None:
    (_, digest), (evil, _) = small_archive(GOOD), small_archive(EVIL)
    put(bucket, evil, digest)
    with pytest.raises(ArchiveCorrupted, match=digest):
        load.ensure(replace(in_s3, digest=digest))
    assert not list(in_s3.temporary.rglob("*.py"))


def test_a_good_manifest_before_other_frames_is_refused(in_s3: load.Places, bucket: FolderObjects) -> None:
    (good, digest), (evil, _) = small_archive(GOOD), small_archive(EVIL)
    head = 8 + int.from_bytes(good[4:8], "little")
    evil_head = 8 + int.from_bytes(evil[4:8], "little")
    put(bucket, good[:head] + evil[evil_head:], digest)
    with pytest.raises(ArchiveCorrupted, match="sha256"):
        load.ensure(replace(in_s3, digest=digest))
    assert not list(in_s3.temporary.rglob("*.py"))


def test_installing_refuses_a_swapped_archive(bucket: FolderObjects, tmp_path: Path) -> None:
    (good, digest), (evil, _) = small_archive(GOOD), small_archive(EVIL)
    put(bucket, evil, digest)
    with pytest.raises(ArchiveCorrupted, match=digest):
        install(bucket, tmp_path / "shared", wanted=digest)
    assert not list((tmp_path / "shared").rglob("*.py"))
    put(bucket, good, digest)
    assert install(bucket, tmp_path / "shared", wanted=digest).unpacked


def test_installed_libraries_are_found_by_the_digest_and_not_by_the_pointer(
    in_s3: load.Places, bucket: FolderObjects, tmp_path: Path
) -> None:
    (good, digest), (evil, other) = small_archive(GOOD), small_archive(EVIL)
    for content, name in ((good, digest), (evil, other)):
        put(bucket, content, name)
        install(bucket, tmp_path / "shared", wanted=name)
    assert load.ensure(replace(in_s3, source="efs", digest=digest)).digest == digest


def test_a_stack_without_a_digest_takes_nothing(in_s3: load.Places, bucket: FolderObjects) -> None:
    put(bucket, *small_archive(GOOD))
    for source in ("s3", "efs"):
        with pytest.raises(ArchiveNotFound, match="LibrariesDigest is empty"):
            load.ensure(replace(in_s3, source=source))
        assert load.current_digest(replace(in_s3, source=source)) == "none"


@pytest.mark.parametrize("digest", ["", "ab" * 32])
def test_functions_take_the_digest_from_their_variables(digest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"LAMBDAFIT_TABLE": "t", "LAMBDAFIT_LIBRARIES": "s3", "LAMBDAFIT_LIBRARIES_DIGEST": digest}
    monkeypatch.setattr(wiring, "environment", lambda: read_environment(variables))
    assert places().digest == digest
    monkeypatch.setattr(wiring, "objects", lambda: None)
    with pytest.raises(ArchiveNotFound):
        install_libraries.handler({"task": "install-libraries", "digest": "cd" * 32}, None)  # type: ignore[arg-type]


def test_a_digest_is_one() -> None:
    with pytest.raises(InvalidSetting, match="LIBRARIES_DIGEST"):
        read_environment({"LAMBDAFIT_TABLE": "t", "LAMBDAFIT_LIBRARIES_DIGEST": "../x"})


def test_the_template_hands_the_parameter_to_all_who_load_libraries() -> None:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, suffix, node: (suffix, getattr(node, "value", None)))
    template = yaml.load(TEMPLATE.read_text(), Loader)  # noqa: S506 - a SafeLoader that knows CloudFormation's tags
    assert template["Parameters"]["LibrariesDigest"]["Default"] == ""
    for name, one in template["Resources"].items():
        variables = one.get("Properties", {}).get("Environment", {}).get("Variables", {})
        assert ("LAMBDAFIT_LIBRARIES" in variables) == ("LAMBDAFIT_LIBRARIES_DIGEST" in variables), name
        if "LAMBDAFIT_LIBRARIES_DIGEST" in variables:
            assert variables["LAMBDAFIT_LIBRARIES_DIGEST"] == ("Ref", "LibrariesDigest")


def test_a_deployment_does_not_adopt_what_the_bucket_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if all that the pointer says of it is right."""
    said = {"digest": "evil", "key": "k", "lock": libraries_upload.lock_digest(), "architecture": "x86_64"}
    outputs = {"Architecture": "x86_64", "LibrariesSource": "s3"}
    bucket = SimpleNamespace(read_json=lambda key: said, keys=lambda prefix: ["k"])
    engine = SimpleNamespace(bucket=bucket, stack=SimpleNamespace(outputs=outputs))
    monkeypatch.setattr(libraries_upload, "built", lambda folder, architecture: "what was built here")
    monkeypatch.setattr(libraries_upload, "_upload", lambda engine, archive, begin: {"digest": "good"})
    for trusted in ("", "good"):
        assert libraries_upload.bring(engine, print, print, trusted=trusted) == "good"  # type: ignore[arg-type]
    assert libraries_upload.bring(engine, print, print, trusted="evil") == "evil"  # type: ignore[arg-type]
