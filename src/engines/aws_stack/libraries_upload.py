"""The workers' libraries: built on this machine where the stack has not those that this code wants, and uploaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contracts.errors import DeployFailed
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


def bring(engine: AwsEngine, begin: Begin, say: Say, folder: Path = FOLDER) -> str:
    """Have the libraries that this code wants in the stack, and on its file system if they are loaded from there.

    Args:
        begin: told before something is uploaded.
        say: told what goes on.
        folder: where archives are built, and kept for the next time.
    Returns:
        their digest.
    Raises:
        LibrariesNotBuilt: the archive cannot be built here.
        DeployFailed: the functions cannot install it.
    """
    architecture = engine.stack.outputs["Architecture"]
    pointer = current(engine)
    if pointer is None or (pointer.get("lock"), pointer.get("architecture")) != (lock_digest(), architecture):
        pointer = _upload(engine, built(folder, architecture) or build(folder, architecture, say), begin)
    else:
        say("The libraries are there already")
    digest = str(pointer["digest"])
    if engine.stack.outputs["LibrariesSource"] == "efs":
        say("Installing the libraries on the file system")
        event = {"digest": digest}
        answer = engine.functions.call("install-libraries", event, patience_s=INSTALL_PATIENCE_S, repeatable=True)
        if not isinstance(answer, dict) or answer.get("digest") != digest:
            where = f"{engine.stack.place}, function install-libraries"
            raise DeployFailed(where, f"it answers {answer!r}", f"that {digest} is installed")
    return digest


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
