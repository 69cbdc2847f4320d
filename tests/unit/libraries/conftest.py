"""Fixtures for archives and for a process that has loaded nothing yet."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_archives import Maker

from libraries import load


@pytest.fixture
def make_archive(tmp_path: Path) -> Maker:
    folder = tmp_path / "archives"
    folder.mkdir()
    return Maker(folder)


@pytest.fixture
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if nothing had been loaded yet; sys.path and the modules are as before afterwards."""
    monkeypatch.setattr(load, "_loaded", None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name.startswith("made_up")]:
        del sys.modules[name]
