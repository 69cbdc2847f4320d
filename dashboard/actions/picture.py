"""A picture that somebody hands in: kept in a private file for as long as the model looks at it."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from contracts.errors import InvalidImage
from dashboard.actions.commands import Commands, Outcome

MAX_MEGABYTES = 5
SUFFIXES = ("png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff")


class Seen(NamedTuple):
    """What a run's model saw in a picture.

    Args:
        error: why it saw nothing, numbered, with what to do; empty if it did.
        top: the likeliest classes: `label`, `class_name` and `confidence` of each.
        values: the outputs, for regression.
        round_index: whose parameters it was.
        shown: the command line.
    """

    error: str
    top: tuple[Mapping[str, Any], ...] = ()
    values: tuple[float, ...] = ()
    round_index: int = 0
    shown: str = ""


def look_at(commands: Commands, run_id: str, name: str, data: bytes) -> Seen:
    """What the run's model sees. Takes as long as a function needs to start: 5 to 15 s.

    Args:
        name: of the file as it was handed in, for messages and for its kind; never a path here.
        data: the whole file.
    """
    if len(data) > MAX_MEGABYTES * 1_000_000:
        size = f"it has {len(data) / 1e6:,.1f} MB"
        return Seen(str(InvalidImage(name, size, f"at most {MAX_MEGABYTES} MB").record()))
    try:
        path, outcome = _ask(commands, run_id, name, data)
    except OSError as error:
        return Seen(f"The picture cannot be handed to the model: {error.strerror or error}. Try again.")
    shown = outcome.shown.replace(shlex.quote(str(path.absolute())), shlex.quote(name))
    if outcome.error:
        return Seen(outcome.error.replace(str(path.absolute()), name).replace(path.name, name), shown=shown)
    answer = outcome.answer or {}
    found = (answer.get("predictions") or [{}])[0]
    return Seen(
        error="" if found else "The command answered without a prediction. Try again.",
        top=tuple(found.get("top", ())),
        values=tuple(float(value) for value in found.get("values", ())),
        round_index=int(answer.get("round_index", 0)),
        shown=shown,
    )


def _ask(commands: Commands, run_id: str, name: str, data: bytes) -> tuple[Path, Outcome]:
    """The file is removed whatever happens. Returns where it was, too."""
    suffix = Path(name).suffix.lower()
    handle, text = tempfile.mkstemp(prefix="lambdafit-", suffix=suffix if suffix[1:] in SUFFIXES else "")  # mode 0600
    path = Path(text)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        return path, commands.predict(run_id, path)
    finally:
        path.unlink(missing_ok=True)
