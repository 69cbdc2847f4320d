"""What is fuzzed: a reader, whole samples of what it reads, and how they are broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from security.mutations import Mutator


@dataclass(frozen=True)
class Work:
    """Where a target may write."""

    folder: Path


@dataclass(frozen=True)
class Target:
    """One reader.

    Args:
        prepare: in the child, once: gives the function that reads an input. It may return a word for what came of it.
        samples: whole inputs, all of which it reads.
        mutate: breaks one.
        weight: its share of all inputs.
    """

    name: str
    prepare: Callable[[Work], Callable[[bytes], Any]]
    samples: tuple[bytes, ...]
    mutate: Mutator
    weight: float = 1.0
