"""What an engine opens is closed when it ends, whenever garbage is collected: there may be one after another."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engines.home import Home
from engines.local import LocalEngine
from simulation.world import settings


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collection")
def test_engines_one_after_another_leave_no_descriptors(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    open_before = psutil.Process().num_fds()
    for number in range(3):
        with LocalEngine(home, "", f"r-000{number}", settings()) as engine:
            engine.services.store.list_runs()
            engine.services.telemetry.read_steps("r-0000000000")
        assert psutil.Process().num_fds() == open_before, f"after {number + 1} engines"
    assert not list(home.folder.glob("*-wal")), "whoever closes last empties the log"


def test_a_look_at_the_store_after_the_engine_has_ended(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    with LocalEngine(home, "", "r-0000", settings()) as engine, engine:
        assert engine.services.store.list_runs() == []
    assert engine.services.store.list_runs() == []
    engine.__exit__(None, None, None)
