"""Features go with the last run that names them, and with no other; whoever begins meanwhile keeps what it found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from contracts.records import Run
from fakes.memory_files import MemoryFiles
from runs import unused_features
from runs.unused_features import remove_unused, tidy
from simulation.world import settings
from stores.shared_files import FolderFiles
from training import feature_blocks
from training.feature_blocks import Block

FACTS = {"name": "pictures", "folder": "datasets/pictures-00"} | dict.fromkeys(
    ("train_examples", "val_examples", "test_examples"), 2
)
DIGEST, OTHER = "0a" * 16, "0b" * 16
FOLDER = feature_blocks.backbone_folder(FACTS, DIGEST)


def run_named(run_id: str, **fields: Any) -> Run:
    own = settings(backbone_digest=fields.pop("digest", DIGEST))
    made = Run(run_id=run_id, settings=own, code_version="1", created_at=1.0, deadline_at=9.0, status="RUNNING")
    return replace(made, **fields)


def joined(files: MemoryFiles, digest: str = DIGEST) -> dict[str, Any]:
    """Features of two examples a split, as a run leaves them."""
    folder = feature_blocks.backbone_folder(FACTS, digest)
    values = np.ones((2, 3), np.float16)
    stored = [(block, feature_blocks.write_block(files, folder, block, values)) for block in blocks()]
    return feature_blocks.join_blocks(files, folder, stored)


def blocks() -> list[Block]:
    return feature_blocks.plan_blocks(FACTS)


@pytest.fixture
def files() -> MemoryFiles:
    found = MemoryFiles()
    joined(found)
    return found


@pytest.mark.parametrize(
    "fields",
    [
        {"phase": "TRAINING", "data_facts": FACTS, "feature_facts": {"folder": FOLDER}},
        {"status": "FINISHED", "data_facts": FACTS, "feature_facts": {"folder": FOLDER}},
        {"phase": "EXTRACTING", "data_facts": FACTS},
        {"phase": "EXTRACTING", "data_facts": FACTS, "status": "CANCELLED"},
        {"phase": "INITIALISING", "data_facts": FACTS, "feature_facts": {"width": 3}},
    ],
)
def test_what_a_run_names_stays(files: MemoryFiles, fields: dict[str, Any]) -> None:
    assert remove_unused(files, lambda: [run_named("r-0001", **fields)]) == []
    assert feature_blocks.joined_features(files, FOLDER) is not None


@pytest.mark.parametrize("runs", [[], [run_named("r-0001", data_facts=FACTS, digest=OTHER)]])
def test_what_no_run_names_goes_whole(files: MemoryFiles, runs: list[Run]) -> None:
    joined(files, OTHER)
    assert FOLDER in remove_unused(files, lambda: runs)
    assert files.names(FOLDER) == []
    left = feature_blocks.backbone_folder(FACTS, OTHER)
    assert (feature_blocks.joined_features(files, left) is not None) == bool(runs)


def test_blocks_of_a_run_that_never_went_on_go_with_it() -> None:
    files = MemoryFiles()
    feature_blocks.write_block(files, FOLDER, blocks()[0], np.ones((2, 3), np.float16))
    assert remove_unused(files, lambda: [run_named("r-0001", data_facts=FACTS, status="CANCELLED")]) == []
    assert remove_unused(files, list) == [FOLDER]
    assert files.names("features") == []


@pytest.mark.parametrize(("digest", "removed"), [(DIGEST, []), ("", [FOLDER])])
def test_a_run_that_has_just_begun_may_name_any(files: MemoryFiles, digest: str, removed: list[str]) -> None:
    assert remove_unused(files, lambda: [run_named("r-0001", digest=digest)]) == removed


def test_where_runs_are_too_many_to_list_all_stays(files: MemoryFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unused_features, "MOST_RUNS", 1)
    assert remove_unused(files, lambda: [run_named("r-0001", digest="")]) == []


@pytest.mark.parametrize("fields", [{}, {"phase": "INITIALISING", "data_facts": FACTS}])
def test_a_run_that_begins_meanwhile_keeps_what_it_has_found(files: MemoryFiles, fields: dict[str, Any]) -> None:
    before = dict(files.contents)
    looks: list[bool] = []

    def runs() -> Sequence[Run]:
        looks.append(feature_blocks.joined_features(files, FOLDER) is not None)
        return [run_named("r-0002", **fields)] if len(looks) > 1 else []

    assert remove_unused(files, runs) == []
    assert looks == [True, False], "hidden before the runs are looked at again"
    assert files.contents == before


def test_what_was_hidden_is_shown_again_if_the_runs_cannot_be_looked_at_again(files: MemoryFiles) -> None:
    before = dict(files.contents)
    answers = iter([[]])
    with pytest.raises(StopIteration):
        remove_unused(files, lambda: next(answers))
    assert files.contents == before


def test_what_somebody_has_put_there_is_left_alone(tmp_path: Path) -> None:
    files = FolderFiles(tmp_path)
    for name in (".DS_Store", "notes", "mine/list"):
        files.write(f"features/{name}", [b"x"], durable=False)
    feature_blocks.write_block(files, FOLDER, blocks()[0], np.ones((2, 3), np.float16))
    tidy(files)
    assert remove_unused(files, list) == [FOLDER]
    assert files.names("features") == [".DS_Store", "mine", "notes"]


def test_leftovers_beside_kept_features_go(files: MemoryFiles) -> None:
    feature_blocks.write_block(files, FOLDER, blocks()[0], np.ones((2, 3), np.float16))
    other = feature_blocks.backbone_folder(FACTS, OTHER)
    feature_blocks.write_block(files, other, blocks()[0], np.ones((2, 3), np.float16))
    for folder in (FOLDER, other, f"{other}/blocks"):
        files.write(f"{folder}/.x.0123.tmp", [b"half"], durable=False)
    tidy(files)
    assert len(files.names(FOLDER)) == 4
    assert feature_blocks.joined_features(files, FOLDER) is not None
    assert files.names(other) == ["blocks"]
    assert len(files.names(f"{other}/blocks")) == 1, "a run that goes on finds it"
