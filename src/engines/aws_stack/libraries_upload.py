"""The workers' libraries: built on this machine where the stack has not those that this code wants, and uploaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contracts.stack_errors import DeployFailed
from engines.aws import AwsEngine
from engines.aws_stack.bucket import Progress
from engines.aws_stack.datasets import Begin, file_digest
from engines.aws_stack.sam import CHECKOUT
from libraries.build import Built, build, built
from libraries.lock import lock_digest
from libraries.sources import POINTER

FOLDER = CHECKOUT / "build" / "libraries"
INSTALL_PATIENCE_S = 300.0

Say = Callable[[str], None]


def bring(engine: AwsEngine, begin: Begin, say: Say, folder: Path = FOLDER, *, trusted: str = "") -> str:
    """Have the libraries that this code wants in the stack's bucket.

    Args:
        trusted: the digest that the stack was deployed with. What the bucket names is believed only if it is this one:
            others may be able to write there.
        begin: told before something is uploaded.
        say: told what goes on.
        folder: where archives are built, and kept for the next time.
    Returns:
        their digest.
    Raises:
        LibrariesNotBuilt: the archive cannot be built here.
    """
    architecture = engine.stack.outputs["Architecture"]
    pointer = current(engine)
    known = (pointer.get("digest"), pointer.get("lock"), pointer.get("architecture")) if pointer else None
    if pointer is None or not trusted or known != (trusted, lock_digest(), architecture):
        pointer = _upload(engine, built(folder, architecture) or build(folder, architecture, say), begin)
    else:
        say("The libraries are there already")
    return str(pointer["digest"])


def install(engine: AwsEngine, digest: str, say: Say) -> None:
    """Have them on the stack's file system, if they are loaded from there.

    Raises:
        DeployFailed: the functions cannot install them.
    """
    if engine.stack.outputs["LibrariesSource"] == "efs":
        say("Installing the libraries on the file system")
        event = {"digest": digest}
        answer = engine.functions.call("install-libraries", event, patience_s=INSTALL_PATIENCE_S, repeatable=True)
        if not isinstance(answer, dict) or answer.get("digest") != digest:
            where = f"{engine.stack.place}, function install-libraries"
            raise DeployFailed(where, f"it answers {answer!r}", f"that {digest} is installed")


def current(engine: AwsEngine) -> dict[str, Any] | None:
    """What the bucket names as the current libraries; None where nothing is, or what it names is not there."""
    pointer = engine.bucket.read_json(POINTER)
    key = str(pointer.get("key", "")) if pointer else ""
    return pointer if key and key in engine.bucket.keys(key) else None


def _upload(engine: AwsEngine, archive: Built, begin: Begin) -> dict[str, Any]:
    """The archive, and last of all the pointer to it."""
    length = archive.path.stat().st_size
    progress: Progress = begin("libraries", length)
    engine.bucket.upload(archive.path, archive.key, file_digest(archive.path), progress)
    contents = archive.manifest.contents
    pointer = archive.pointer() | {"lock": contents.lock, "architecture": contents.architecture}
    engine.bucket.write(POINTER, json.dumps(pointer).encode())
    return pointer
