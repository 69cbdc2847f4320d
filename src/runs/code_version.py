"""Which code trains: pinned by a run when it starts, so that no run mixes two versions' arithmetic."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import xxhash

VERSION = "0.1.0"

ARITHMETIC = ("training/**/*.py", "runs/combine.py", "runs/keras_trainer.py", "runs/stages.py", "runs/train.py")


@cache
def code_version() -> str:
    """The version, and a digest of every source file that could change a parameter."""
    source = Path(__file__).parent.parent
    digest = xxhash.xxh3_64()
    for pattern in ARITHMETIC:
        for path in sorted(source.glob(pattern)):
            digest.update(path.relative_to(source).as_posix().encode())
            digest.update(path.read_bytes())
    return f"{VERSION}+{digest.hexdigest()}"
