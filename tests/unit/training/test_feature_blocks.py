"""A backbone's outputs on the shared files: every row once, every byte checked, nothing mixed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import DataCorrupted, TornFile
from fakes.memory_files import MemoryFiles
from training.feature_blocks import (
    MAX_BLOCKS,
    Block,
    backbone_folder,
    blocks_present,
    join_blocks,
    joined_features,
    load_features,
    part_of,
    plan_blocks,
    read_block,
    write_block,
)
from training.vector_files import Vector

FOLDER = "features/pictures-0f"


def facts(train: int, val: int = 0, test: int = 0) -> dict[str, Any]:
    return {
        "name": "pictures",
        "folder": "datasets/pictures-00",
        "train_examples": train,
        "val_examples": val,
        "test_examples": test,
    }


def features(block: Block) -> Vector:
    rows = np.arange(block.low, block.high)[:, None]  # (rows, 1)
    return (rows % 100 + len(block.split) + np.array([0.0, 0.25, 0.5])).astype(np.float16)  # (rows, 3)


def stored(files: MemoryFiles, blocks: list[Block]) -> list[tuple[Block, str]]:
    return [(block, write_block(files, FOLDER, block, features(block))) for block in blocks]


@given(st.integers(1, 2_000_000), st.integers(0, 5_000), st.integers(0, 5_000), st.integers(1, 70))
def test_every_row_falls_to_exactly_one_worker(train: int, val: int, test: int, workers: int) -> None:
    blocks = plan_blocks(facts(train, val, test))
    assert len(blocks) <= MAX_BLOCKS
    for split, rows in (("train", train), ("val", val), ("test", test)):
        own = [block for block in blocks if block.split == split]
        assert [block.low for block in own] == [0, *(block.high for block in own)][: len(own)]
        assert (own[-1].high if own else 0) == rows
    workers = min(workers, len(blocks))
    parts = [part_of(blocks, workers, index) for index in range(workers)]
    assert [block for part in parts for block in part] == blocks
    assert all(parts)


def test_the_folder_is_known_by_the_data_and_by_the_backbone() -> None:
    other_data = facts(1) | {"folder": "datasets/pictures-01"}
    folders = {backbone_folder(facts(1), "ab"), backbone_folder(facts(1), "cd"), backbone_folder(other_data, "ab")}
    assert len(folders) == 3
    assert all(folder.startswith("features/pictures-") for folder in folders)


def test_blocks_join_to_one_array_a_split_and_go() -> None:
    files = MemoryFiles()
    found = join_blocks(files, FOLDER, stored(files, plan_blocks(facts(300, 20, 130))))
    assert found["width"] == 3
    assert files.names(f"{FOLDER}/blocks") == []
    assert joined_features(files, FOLDER) == found
    for split, rows in (("train", 300), ("val", 20), ("test", 130)):
        values = load_features(files, found, f"x_{split}")
        assert values.dtype == np.float16
        assert values.tolist() == features(Block(split, 0, rows)).tolist()


def test_a_split_without_examples_is_an_empty_array() -> None:
    files = MemoryFiles()
    found = join_blocks(files, FOLDER, stored(files, plan_blocks(facts(5))))
    assert load_features(files, found, "x_val").shape == (0, 3)


def test_a_block_that_was_damaged_is_noticed() -> None:
    files = MemoryFiles()
    [(block, digest)] = stored(files, plan_blocks(facts(5)))
    assert blocks_present(files, FOLDER) == {str(block): digest}
    [path] = [path for path in files.contents if "/blocks/" in path]
    files.contents[path] = files.contents[path][:-1] + b"\7"
    with pytest.raises(TornFile):
        read_block(files, FOLDER, block, digest)
    with pytest.raises(TornFile):
        join_blocks(files, FOLDER, [(block, digest)])
    assert joined_features(files, FOLDER) is None


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"folder": "features/pictures-0f"}', '{"files": 3}'])
def test_what_is_no_complete_folder_is_made_again(damage: str) -> None:
    files = MemoryFiles()
    join_blocks(files, FOLDER, stored(files, plan_blocks(facts(5, 1, 1))))
    files.contents[f"{FOLDER}/meta.json"] = damage.encode()
    assert joined_features(files, FOLDER) is None


def test_a_missing_array_or_one_of_another_name_is_no_complete_folder() -> None:
    files = MemoryFiles()
    found = join_blocks(files, FOLDER, stored(files, plan_blocks(facts(5, 1, 1))))
    files.remove(found["files"]["x_val"]["path"])
    assert joined_features(files, FOLDER) is None
    found["files"]["x_val"]["path"] = "runs/r-0000/model.keras"
    files.contents[f"{FOLDER}/meta.json"] = json.dumps(found).encode()
    assert joined_features(files, FOLDER) is None


def test_an_array_that_changed_is_refused() -> None:
    files = MemoryFiles()
    found = join_blocks(files, FOLDER, stored(files, plan_blocks(facts(5))))
    path = found["files"]["x_train"]["path"]
    files.contents[path] = files.contents[path][:-1] + b"\7"
    with pytest.raises(DataCorrupted, match=r"features/pictures-0f"):
        load_features(files, found, "x_train")


def test_other_bits_of_the_same_block_disturb_nobody() -> None:
    files = MemoryFiles()
    [(block, digest)] = stored(files, plan_blocks(facts(5)))
    other = write_block(files, FOLDER, block, features(block) + np.float16(1))
    assert other != digest
    assert read_block(files, FOLDER, block, digest).tolist() == features(block).tolist()
