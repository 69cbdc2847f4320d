"""A run's weights: named by their content, checked against the backbone, copied whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import xxhash
from msgspec.structs import replace as changed

from contracts.errors import DataCorrupted, WeightsNotFound, WeightsUnfit
from contracts.stack_errors import ObjectNotFound
from fakes.memory_files import MemoryFiles
from runs import check_weights, weights
from runs.describe_recipe import DataPlaces
from runs.fetch_weights import fetch_weights, holds
from runs.recipe_summary import RecipeSummary
from training.weights import PublishedWeights, shared_path

PUBLISHED = PublishedWeights(folder="small", name="x.h5", url="https://127.0.0.1:9/x.h5", bytes=5_000_000)
RECIPE = """
from training.recipe import Recipe
from training.weights import PublishedWeights, load_weights

def build(settings): ...

def build_backbone(settings):
    import keras
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(3, 3), keras.layers.GlobalMaxPooling2D()])
    load_weights(model, settings["weights"])
    return model

recipe = Recipe(
    name="mine", title="t", dataset="digits", build_model=build, build_optimizer=build, build_loss=build,
    build_backbone=build_backbone, backbone_settings=("weights",), settings={"weights": "", "features": True}, MORE
)
"""
CONTENT = b"pretends to be weights"
LOCATION = shared_path(xxhash.xxh3_128_hexdigest(CONTENT))


def written(folder: Path, more: str = "") -> str:
    path = folder / "mine.py"
    path.write_text(RECIPE.replace("MORE", more))
    return str(path)


def described(folder: Path, is_dry: bool = False, more: str = "", **overrides: str) -> weights.Wanted:
    places = DataPlaces(str(folder / "data"), str(folder / "downloads"))
    return weights.describe(written(folder, more), overrides, places, is_dry=is_dry)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.h5"
    path.write_bytes(CONTENT)
    return path


# --- found ---------------------------------------------------------------------------------------------------


def test_weights_are_named_by_their_content(tmp_path: Path, file: Path) -> None:
    wanted = described(tmp_path, weights=str(file))
    assert wanted.summary.settings["weights"] == wanted.overrides["weights"] == wanted.location == LOCATION
    assert wanted.file == file
    other = described(tmp_path, weights=str(file), features="off")
    assert (other.location, other.summary.backbone_digest) == (LOCATION, "")
    file.write_bytes(b"others")
    assert described(tmp_path, weights=str(file)).summary.backbone_digest != wanted.summary.backbone_digest


def test_the_published_file_is_found_in_the_users_folder(tmp_path: Path) -> None:
    more = 'weights=PublishedWeights(folder="small", name="x.h5", url="https://127.0.0.1:9/x.h5")'
    open_ = described(tmp_path, more=more, is_dry=True)
    assert (open_.location, open_.file, open_.overrides) == ("", None, {})
    with pytest.raises(WeightsNotFound, match=r"there is no .*data/small/x\.h5 or .*downloads/small/x\.h5"):
        described(tmp_path, more=more)
    (tmp_path / "data" / "small").mkdir(parents=True)
    (tmp_path / "data" / "small" / "x.h5").write_bytes(CONTENT)
    for is_dry in (True, False):
        assert described(tmp_path, more=more, is_dry=is_dry).location == LOCATION


def test_a_missing_file_is_refused_even_by_a_dry_run(tmp_path: Path) -> None:
    for is_dry in (True, False):
        with pytest.raises(WeightsNotFound, match=r"--set weights: there is no file .*none\.h5"):
            described(tmp_path, is_dry=is_dry, weights=str(tmp_path / "none.h5"))


def test_a_file_too_large_is_refused(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "LARGEST_BYTES", 5)
    with pytest.raises(WeightsUnfit, match="22 bytes, expected at most 5"):
        described(tmp_path, weights=str(file))


def test_a_recipe_may_do_without(tmp_path: Path) -> None:
    places = DataPlaces("", str(tmp_path))
    assert described(tmp_path).file is None
    plain = weights.describe("digits-mlp", {"units": "8"}, places, checks_data=False)
    assert (plain.location, plain.file, plain.overrides) == ("", None, {"units": "8"})
    files = MemoryFiles()
    weights.keep(files, plain)
    weights.check("digits-mlp", plain, lambda path: False)
    assert not files.contents


# --- copied --------------------------------------------------------------------------------------------------


def test_weights_are_copied_once_and_a_damaged_copy_again(tmp_path: Path, file: Path) -> None:
    wanted = described(tmp_path, weights=str(file))
    files = MemoryFiles()
    weights.keep(files, wanted)
    assert files.contents[LOCATION] == CONTENT
    assert LOCATION in files.durable
    assert sorted(files.contents) == sorted([LOCATION, weights.mark(wanted)])
    file.unlink()
    weights.keep(files, wanted)  # nothing has to be read
    files.contents[LOCATION] = CONTENT[:-1]
    file.write_bytes(CONTENT)
    weights.keep(files, wanted)
    assert files.contents[LOCATION] == CONTENT


def test_a_file_that_changes_meanwhile_is_not_kept(tmp_path: Path, file: Path) -> None:
    wanted = described(tmp_path, weights=str(file))
    file.write_bytes(CONTENT + b"!")
    files = MemoryFiles()
    with pytest.raises(WeightsUnfit, match="changed while it was being read"):
        weights.keep(files, wanted)
    assert not files.contents


def test_a_path_on_the_shared_files_must_be_there(tmp_path: Path) -> None:
    wanted = described(tmp_path, weights=LOCATION)
    files = MemoryFiles()
    with pytest.raises(WeightsNotFound, match=f"there is no {LOCATION} on the shared files"):
        weights.keep(files, wanted)
    files.contents[LOCATION] = CONTENT
    weights.keep(files, wanted)
    assert list(files.contents) == [LOCATION]


# --- checked -------------------------------------------------------------------------------------------------


def test_weights_are_tried_in_a_process_unless_a_mark_says_that_they_fit(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[check_weights.Question] = []
    monkeypatch.setattr(weights, "ask", lambda module, question, answer, died: asked.append(question))
    wanted = described(tmp_path, weights=str(file))
    files = MemoryFiles()
    weights.check("mine.py", wanted, files.exists)
    assert [(one.recipe, one.settings) for one in asked] == [
        ("mine.py", {"weights": str(file), "features": True}),
    ]
    weights.keep(files, wanted)
    weights.check("mine.py", wanted, files.exists)
    assert len(asked) == 1
    other = changed(wanted.summary, digest="f" * 32)  # the recipe's file has changed
    weights.check("mine.py", weights.Wanted(other, wanted.overrides, wanted.file), files.exists)
    assert len(asked) == 2


def test_weights_that_do_not_fit_are_refused_by_the_process(tmp_path: Path, file: Path) -> None:
    wanted = described(tmp_path, weights=str(file))
    with pytest.raises(WeightsUnfit, match=r"E114 .*x\.h5: it does not fit"):
        weights.check(written(tmp_path), wanted, lambda path: False)


# --- fetched on AWS ------------------------------------------------------------------------------------------


class Bucket:
    """As much of `Objects` as is asked for."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self.contents, self.reads = contents, 0

    def read(self, key: str) -> bytes:
        self.reads += 1
        if key not in self.contents:
            raise ObjectNotFound(key, "it is not there")
        return self.contents[key]


def fetched(location: object, files: MemoryFiles, bucket: Bucket) -> None:
    objects: Any = bucket
    fetch_weights(location, files, objects)


def test_weights_come_from_the_bucket_once() -> None:
    files, bucket = MemoryFiles(), Bucket({LOCATION: CONTENT})
    for _ in range(2):
        fetched(LOCATION, files, bucket)
    assert (files.contents, bucket.reads) == ({LOCATION: CONTENT}, 1)
    assert holds(files, LOCATION)
    files.contents[LOCATION] = b"damaged"
    fetched(LOCATION, files, bucket)
    assert files.contents[LOCATION] == CONTENT


@pytest.mark.parametrize("location", [None, "", 5, True, "mine.h5", "../weights/x", "weights/../runs.db"])
def test_what_is_no_such_path_is_left_alone(location: object) -> None:
    files, bucket = MemoryFiles(), Bucket({})
    fetched(location, files, bucket)
    assert (files.contents, bucket.reads) == ({}, 0)


def test_weights_that_nobody_brought_or_that_are_others_are_refused() -> None:
    files = MemoryFiles()
    with pytest.raises(WeightsNotFound, match=f"bucket, {LOCATION}"):
        fetched(LOCATION, files, Bucket({}))
    with pytest.raises(DataCorrupted, match="its xxh3-128 is"):
        fetched(LOCATION, files, Bucket({LOCATION: b"others"}))
    assert not files.contents


def test_a_summary_with_weights_travels_as_json() -> None:
    summary = RecipeSummary(
        name="a", title="", location="a", digest="b", dataset="c", batch_size=1, epochs=1, settings={"weights": ""},
        takes_weights=True, published_weights=PUBLISHED,
    )  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(summary), type=RecipeSummary) == summary
