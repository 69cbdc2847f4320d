"""Names that reach a file path or a key: checked once, here, before anything is built from them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from contracts.errors import InvalidMessage, InvalidRunId

RUN_ID = re.compile(r"r-[0-9a-z]{4,32}")
NONCE = re.compile(r"[0-9a-f]{8,32}")


def check_run_id(text: str) -> str:
    """`text` if it is a whole run id.

    Raises:
        InvalidRunId: it is not; so `../x` never becomes a path.
    """
    if not RUN_ID.fullmatch(text):
        raise InvalidRunId("run", repr(text), "r- and 4 to 32 of 0-9a-z")
    return text


def check_relative_path(text: str) -> str:
    """`text` if it is a plain relative path below its root.

    Raises:
        InvalidMessage: it is absolute, empty, or climbs out with `..`.
    """
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or "\\" in text or "\0" in text:
        raise InvalidMessage("path", repr(text), "a relative path without '..'")
    return text
