"""A user's recipe, weights and features go with the last run that names them."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from cli.home_access import RunFolder
from contracts.records import Run
from engines.home import Home, HomeLock
from simulation.world import settings
from stores.sqlite import SqliteStore

RECIPE, OTHER = "recipes/00aa.py", "recipes/00bb.py"


@pytest.fixture
def place(tmp_path: Path) -> RunFolder:
    """Two runs with one recipe, and one with a built-in recipe."""
    home = Home(tmp_path / "home")
    home.create()
    store = SqliteStore(home.environment().store_file)
    for run_id, recipe in (("r-0001", RECIPE), ("r-0002", RECIPE), ("r-0003", "digits-mlp")):
        run = Run(
            run_id=run_id, settings=settings(recipe=recipe), code_version="1", created_at=1.0, deadline_at=9.0
        )  # fmt: skip
        store.create_run(replace(run, status="FINISHED"))
    store.close()
    found = RunFolder(home)
    found.files.write(RECIPE, [b"recipe = ..."], durable=False)
    return found


def test_the_last_run_takes_its_recipe_along(place: RunFolder) -> None:
    place.remove("r-0001")
    assert place.files.exists(RECIPE)
    place.remove("r-0002")
    assert not place.files.exists(RECIPE)
    assert [run.run_id for run in place.runs()] == ["r-0003"]


def test_weights_go_with_the_last_run_that_names_them(place: RunFolder) -> None:
    names = ["0a" * 16, "0b" * 16]
    store = place.store
    for run_id, name in (("r-0004", names[0]), ("r-0005", names[0])):
        run = store.load_run("r-0003")
        own = replace(run.settings, recipe_settings={"weights": f"weights/{name}.weights.h5"})
        store.create_run(replace(run, run_id=run_id, settings=own, version=1))
    for name in names:
        place.files.write(f"weights/{name}.weights.h5", [b"weights"], durable=False)
        place.files.write(f"weights/{name}.fit-0123", [b""], durable=False)
    place.remove("r-0004")
    assert place.files.names("weights") == [f"{names[0]}.fit-0123", f"{names[0]}.weights.h5"]
    place.remove("r-0005")
    assert place.files.names("weights") == []


def test_features_go_with_the_last_run_that_names_them(place: RunFolder) -> None:
    names = [f"digits-{name * 16}" for name in ("0a", "0b")]
    folders = [f"features/{name}" for name in names]
    run = place.store.load_run("r-0003")
    for number, folder in ((4, folders[0]), (5, folders[0]), (6, folders[1])):
        place.store.create_run(replace(run, run_id=f"r-000{number}", feature_facts={"folder": folder}, version=1))
    for folder in folders:
        place.files.write(f"{folder}/meta.json", [b"{}"], durable=False)
    place.remove("r-0004")
    assert place.files.names("features") == names
    place.remove("r-0005")
    assert place.files.names("features") == names[1:]
    lock = HomeLock(place.home)
    lock.acquire("run r-0009")
    place.remove("r-0006")
    assert place.files.names("features") == names[1:], "the run at work may have found them"
    lock.release()
    place.remove("r-0003")
    assert place.files.names("features") == []


def test_while_an_engine_works_recipes_stay_until_a_later_removal(place: RunFolder) -> None:
    """It may have kept a recipe for a run that it has not yet started."""
    place.files.write(OTHER, [b"recipe = ..."], durable=False)
    lock = HomeLock(place.home)
    lock.acquire("run r-0009")
    place.remove("r-0001")
    place.remove("r-0002")
    assert place.files.names("recipes") == ["00aa.py", "00bb.py"]
    lock.release()
    place.remove("r-0003")
    assert place.files.names("recipes") == []


def test_an_unreadable_record_keeps_recipes(place: RunFolder) -> None:
    with place.store._runs.transaction() as cursor:
        cursor.execute("UPDATE runs SET data = 'no record' WHERE run_id = 'r-0003'")
    place.remove("r-0001")
    place.remove("r-0002")
    assert place.files.exists(RECIPE)
    assert HomeLock(place.home).held_by_other() == ""
