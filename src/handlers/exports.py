"""Files made for whoever asked, in the bucket: there a user can fetch them, on the shared files he cannot."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.errors import InvalidMessage
from contracts.ports import Objects, SharedFiles
from contracts.records import RoundRecord, StepBatch
from runs.curves import write_curves


def moved_to_bucket(answer: Mapping[str, Any], name: str, files: SharedFiles, objects: Objects) -> dict[str, Any]:
    """The answer of an export, its file moved from the shared files into the bucket.

    Args:
        answer: with `run_id` and the `path` of the file.
        name: the object's name.
    Returns:
        the answer with `key` and `bytes` in place of `path`.
    """
    rest = {field: value for field, value in answer.items() if field != "path"}
    key = export_key(answer["run_id"], name)
    try:
        size = objects.write_file(key, Path(files.local_path(answer["path"])))
    finally:
        files.remove(answer["path"])
    return rest | {"key": key, "bytes": size}


def curves_to_bucket(
    run_id: str, name: str, rounds: Sequence[RoundRecord], steps: Sequence[StepBatch], objects: Objects
) -> dict[str, Any]:
    """A run's curves as one .zip of TensorBoard's event files."""
    key = export_key(run_id, name)
    with tempfile.TemporaryDirectory(prefix="lambdafit-") as folder:
        curves, archive = Path(folder) / "curves", Path(folder) / "curves.zip"
        points = write_curves(curves, rounds, steps)
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as stream:
            for path in sorted(curves.rglob("*")):
                stream.write(path, path.relative_to(curves).as_posix())
        size = objects.write_file(key, archive)
    return {"run_id": run_id, "points": points, "key": key, "bytes": size}


def export_key(run_id: str, name: str) -> str:
    """Where an export lies in the bucket.

    Raises:
        InvalidMessage: the name is a path.
    """
    if not name or "/" in name or name.startswith("."):
        raise InvalidMessage("event", f"name is {name!r}", "a file's plain name")
    return f"exports/{run_id}/{name}"
