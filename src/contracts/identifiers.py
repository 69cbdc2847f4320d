"""Names that reach a file path or a key: checked once, here, before anything is built from them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from contracts.errors import InvalidMessage, InvalidRunId

RUN_ID = re.compile(r"r-[0-9a-z]{4,32}")
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 1_024
"""S3's limit for keys, far below a file system's for paths."""

SHOWN = 200
NONCE = re.compile(r"[0-9a-f]{8,32}")


def check_run_id(text: str) -> str:
    """`text` if it is a whole run id.

    Raises:
        InvalidRunId: it is not; so `../x` never becomes a path.
    """
    if not isinstance(text, str) or not RUN_ID.fullmatch(text):
        raise InvalidRunId("run", repr(text)[:SHOWN], "r- and 4 to 32 of 0-9a-z")
    return text


def check_relative_path(text: str) -> str:
    """`text` if it is a plain relative path below its root.

    Raises:
        InvalidMessage: it is absolute, names the root itself, climbs out with `..`, or is no name that a file can have.
    """
    if not isinstance(text, str) or not _is_below(text):
        raise InvalidMessage("path", repr(text)[:SHOWN], "a relative path without '..'")
    return text


def _is_below(text: str) -> bool:
    path = PurePosixPath(text)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in text or not text.isprintable():
        return False
    names = [name.encode() for name in path.parts]  # what is printable has no lone surrogates
    return len(text.encode()) <= MAX_PATH_BYTES and max(map(len, names)) <= MAX_NAME_BYTES
