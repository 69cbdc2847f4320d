"""What a killed function leaves among its temporary files goes with the engine, or with the next one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cli.home_access import RunFolder
from contracts.errors import InvocationFailed
from engines.home import Home, HomeLock
from engines.local import LocalEngine
from simulation.world import settings
from stores.sqlite import SqliteStore

INTEGRATION = Path(__file__).parent
HANDLERS = {"prepare": "leaving_handlers.handler"}
LIMIT_S = 60.0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("PYTHONPATH", str(INTEGRATION))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    made = Home(tmp_path / "home")
    made.create()
    return made


def engine(home: Home) -> LocalEngine:
    return LocalEngine(home, "", "r-0000", settings(), HANDLERS)


def test_temporary_files_go_with_the_engine(home: Home, tmp_path: Path) -> None:
    with engine(home) as running:
        left = running.call("prepare", {}, LIMIT_S)
        assert Path(left, "model.keras").exists()
        assert Path(left).is_relative_to(home.temporary_folder)
        assert home.temporary_folder.stat().st_mode & 0o777 == 0o700
        with pytest.raises(InvocationFailed, match="SIGKILL"):
            running.call("prepare", {"die": True}, LIMIT_S)
        assert len(os.listdir(home.temporary_folder)) == 2  # noqa: PTH208 - only the number counts
    assert not home.temporary_folder.exists()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_those_of_an_engine_that_died_go_with_the_next(home: Home) -> None:
    (home.temporary_folder / "left-by-another").mkdir(parents=True)
    with engine(home):
        assert list(home.temporary_folder.iterdir()) == []
    assert not home.temporary_folder.exists()


def test_those_of_an_engine_that_died_go_with_a_removed_run(home: Home) -> None:
    SqliteStore(home.environment().store_file).list_runs()
    (home.temporary_folder / "left-by-another").mkdir(parents=True)
    place = RunFolder(home)
    lock = HomeLock(home)
    lock.acquire("run r-0001")
    place.remove("r-0000")
    assert home.temporary_folder.exists(), "an engine works there"
    lock.release()
    place.remove("r-0000")
    assert not home.temporary_folder.exists()


def test_without_the_folder_functions_use_the_system_s(home: Home) -> None:
    with engine(home) as running:
        shutil.rmtree(home.temporary_folder)
        left = running.call("prepare", {}, LIMIT_S)
        shutil.rmtree(left)
