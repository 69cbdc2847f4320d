"""What `make sam-local` runs in the containers in place of a handler: unpacks a home, then calls the real one.

`sam local` mounts no file system and lets containers reach nothing. So each function finds in its artifact a home (run
store and shared files in one folder) of a run that stands where the sample event wants it, and loopback_aws.py answers
for S3 and Lambda. The handler itself, its layer and its libraries are those that would be deployed.
"""

from __future__ import annotations

import importlib
import os
import tarfile
from pathlib import Path
from typing import Any

import loopback_aws

ARTIFACT = Path(__file__).parent
CALLS = loopback_aws.serve(ARTIFACT / "bucket")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The real handler's answer, and the calls to AWS that it made."""
    _unpack(os.environ["SAM_LOCAL_HOME"], Path(os.environ["LAMBDAFIT_HOME"]))
    module, _, name = os.environ["SAM_LOCAL_HANDLER"].rpartition(".")
    answer = getattr(importlib.import_module(module), name)(event, context)
    return {"answer": answer, "calls": CALLS}


def _unpack(name: str, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    if name:
        with tarfile.open(ARTIFACT / "homes" / f"{name}.tar") as packed:
            packed.extractall(home, filter="data")
