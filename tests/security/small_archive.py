"""A libraries archive of one file, for this machine and this code."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from libraries.archive import pack
from libraries.lock import lock_digest, this_architecture, this_python

GOOD, EVIL = b"answer = 42\n", b"import os; answer = 13\n"


@cache
def small_archive(content: bytes) -> tuple[bytes, str]:
    """Its bytes and its digest."""
    with tempfile.TemporaryDirectory() as folder:
        tree, path = Path(folder, "tree"), Path(folder, "archive")
        (tree / "made_up").mkdir(parents=True)
        (tree / "made_up" / "__init__.py").write_bytes(content)
        about = {"architecture": this_architecture(), "python": this_python(), "lock": lock_digest(), "packages": {}}
        manifest = pack(tree, about, path, threads=1, level=1)
        return path.read_bytes(), manifest.digest
