"""Fixtures for tests of several folders: `tests/conftest.py` makes them known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rehearsal.stage import Stage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The stage of the rehearsals, still closed. Processes of it end with the session at the latest."""
    made = Stage(tmp_path_factory.mktemp("rehearsal"), data="")
    yield made
    made.close()


@pytest.fixture(scope="session")
def rehearsed_calls(stage: Stage) -> list[dict[str, Any]]:
    """The permissions that functions and people needed in the rehearsals; see `Stage.calls`."""
    return stage.calls()
