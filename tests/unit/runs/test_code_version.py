"""What a run pins when it starts."""

from __future__ import annotations

import tomllib
from pathlib import Path

from runs import code_version

ROOT = Path(__file__).parents[3]


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == code_version.VERSION
    assert code_version.code_version().startswith(f"{code_version.VERSION}+")


def test_every_pattern_names_files() -> None:
    assert all(list((ROOT / "src").glob(pattern)) for pattern in code_version.ARITHMETIC)
