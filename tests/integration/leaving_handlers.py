"""A function that dies and leaves a temporary folder behind, as one that is killed while it saves a model."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def handler(event: Mapping[str, Any], _context: object) -> str:
    folder = tempfile.mkdtemp(prefix="left-")
    Path(folder, "model.keras").write_bytes(b"half of it")
    if event.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    return folder
