"""Seeds whose schedules once broke a promise: always run."""

from __future__ import annotations

from pathlib import Path

FILE = Path(__file__).with_name("regression_seeds.txt")


def seeds() -> list[int]:
    """The seeds; behind each one the file says what it found."""
    lines = (line.partition("#")[0].strip() for line in FILE.read_text(encoding="utf-8").splitlines())
    return [int(line) for line in lines if line]
