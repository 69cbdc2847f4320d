"""A data set and a recipe from the bucket onto the shared files: every byte checked, cut short it goes on."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash

from contracts.errors import DataCorrupted, DataNotFound, UnknownRecipe
from contracts.ports import ObjectFacts
from contracts.records import Run
from contracts.settings import make_settings
from contracts.stack_errors import ObjectsForbidden, ObjectsUnreachable
from fakes.folder_objects import FolderObjects
from fakes.memory_files import MemoryFiles
from runs import fetch_data as module
from runs.fetch_data import fetch_data
from stores.shared_files import FolderFiles
from training.datasets.prepare import SPLITS, prepare_dataset
from training.datasets.prepared import load_prepared
from training.datasets.source import Arrays, DataSource

RECIPE = b"recipe = 1\n"


def arrays(_folder: Path) -> Arrays:
    x = np.arange(40 * 6, dtype=np.uint8).reshape(40, 2, 3)
    return Arrays(x_train=x, y_train=np.arange(40) % 4, x_test=x[:8], y_test=np.arange(8) % 4)


class CountingObjects(FolderObjects):
    """Remembers what was read; the first reads of a range may break off."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.ranges: list[str] = []
        self.breaks = 0

    def read_into(self, facts: ObjectFacts, offset: int, buffer: Any) -> None:
        self.ranges.append(facts.key)
        if self.breaks > 0:
            self.breaks -= 1
            raise ObjectsUnreachable("s3", "the connection broke")
        super().read_into(facts, offset, buffer)


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CountingObjects:
    """A bucket as `lambdafit data push` leaves it; ranges are small, so that every array has several."""
    monkeypatch.setattr(module, "RANGE_BYTES", 200)
    bucket = tmp_path / "bucket"
    facts = prepare_dataset(
        DataSource(name="tiny", load=arrays), FolderFiles(bucket), data_folder=None, cache_folder=tmp_path
    )
    (bucket / "datasets" / "tiny.json").write_text(json.dumps({"folder": facts["folder"]}))
    return CountingObjects(bucket)


@pytest.fixture
def files(tmp_path: Path) -> FolderFiles:
    return FolderFiles(tmp_path / "shared")


def make_run(**changes: Any) -> Run:
    values: dict[str, Any] = {"recipe": "tiny-mlp", "recipe_digest": "0", "dataset": "tiny", "workers": 1}
    settings = make_settings(values | {"batch_size": 4, "rounds": 1} | changes)
    return Run(run_id="r-0001", settings=settings, code_version="1", created_at=0.0, deadline_at=1.0)


def folder_of(objects: CountingObjects) -> str:
    folder: str = json.loads(objects.read("datasets/tiny.json"))["folder"]
    return folder


def test_the_data_set_arrives_as_it_was_prepared(objects: CountingObjects, files: FolderFiles) -> None:
    facts = fetch_data(make_run(), files, objects)
    assert facts["train_examples"] + facts["val_examples"] == 40
    for name, array in load_prepared(files, facts, SPLITS).items():
        assert array.tobytes() == np.load(objects._root / facts["folder"] / f"{name}.npy").tobytes()
    assert files.names(facts["folder"]) == sorted([*(f"{name}.npy" for name in SPLITS), "meta.json"])


def test_a_second_fetch_reads_no_array(objects: CountingObjects, files: FolderFiles) -> None:
    first = fetch_data(make_run(), files, objects)
    objects.ranges.clear()
    assert fetch_data(make_run(), files, objects) == first
    assert objects.ranges == []


def test_a_fetch_that_was_cut_short_goes_on_where_it_was(objects: CountingObjects, files: FolderFiles) -> None:
    facts = fetch_data(make_run(), files, objects)
    files.remove(f"{facts['folder']}/meta.json")
    files.remove(f"{facts['folder']}/y_test.npy")
    files.write(f"{facts['folder']}/x_val.npy", [b"torn"], durable=False)
    objects.ranges.clear()
    fetch_data(make_run(), files, objects)
    assert {key.rpartition("/")[2] for key in objects.ranges} == {"y_test.npy", "x_val.npy"}
    assert load_prepared(files, facts, ["x_val", "y_test"])


def test_damage_on_the_shared_files_is_mended_while_meta_is_not_written(
    objects: CountingObjects, files: FolderFiles
) -> None:
    facts = fetch_data(make_run(), files, objects)
    path = f"{facts['folder']}/x_train.npy"
    content = bytearray(files.read(path))
    content[-1] ^= 1
    files.write(path, [content], durable=True)
    files.remove(f"{facts['folder']}/meta.json")
    fetch_data(make_run(), files, objects)
    assert load_prepared(files, facts)


def test_a_run_may_name_the_very_folder(objects: CountingObjects, files: FolderFiles) -> None:
    folder = folder_of(objects)
    objects.remove("datasets/tiny.json")
    assert fetch_data(make_run(data_folder=folder), files, objects)["folder"] == folder


def test_a_read_that_breaks_off_is_tried_again_but_not_for_ever(objects: CountingObjects, files: FolderFiles) -> None:
    objects.breaks = 2
    assert fetch_data(make_run(), files, objects)
    objects.breaks = 10**6
    with pytest.raises(ObjectsUnreachable, match="E322"):
        fetch_data(make_run(), MemoryFiles(), objects)


def test_a_data_set_that_nobody_pushed_says_how_to_push_it(objects: CountingObjects, files: FolderFiles) -> None:
    with pytest.raises(DataNotFound, match="E105") as raised:
        fetch_data(make_run(dataset="unknown"), files, objects)
    assert "lambdafit data push unknown" in str(raised.value)
    with pytest.raises(DataNotFound, match="lambdafit data push tiny"):
        fetch_data(make_run(data_folder="datasets/tiny-0000"), files, objects)
    objects.remove(f"{folder_of(objects)}/y_val.npy")
    with pytest.raises(DataNotFound, match="lambdafit data push tiny"):
        fetch_data(make_run(), files, objects)


def test_what_s3_does_not_let_us_see_is_taken_as_not_pushed(
    objects: CountingObjects, files: FolderFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(key: str) -> bytes:
        raise ObjectsForbidden(f"s3://b/{key}", "AccessDenied")

    monkeypatch.setattr(objects, "read", refused)
    with pytest.raises(DataNotFound, match="AccessDenied"):
        fetch_data(make_run(), files, objects)


def spoil_pointer(objects: CountingObjects) -> None:
    objects.write("datasets/tiny.json", b'{"folder": "../../etc"}')


def spoil_pointer_json(objects: CountingObjects) -> None:
    objects.write("datasets/tiny.json", b"{")


def spoil_meta_json(objects: CountingObjects) -> None:
    objects.write(f"{folder_of(objects)}/meta.json", b"{}")


def spoil_meta_folder(objects: CountingObjects) -> None:
    key = f"{folder_of(objects)}/meta.json"
    objects.write(key, objects.read(key).replace(b"datasets/tiny-", b"datasets/other-"))


def spoil_meta_arrays(objects: CountingObjects) -> None:
    key = f"{folder_of(objects)}/meta.json"
    facts = json.loads(objects.read(key))
    del facts["files"]["y_val"]
    objects.write(key, json.dumps(facts).encode())


def cut_array(objects: CountingObjects) -> None:
    key = f"{folder_of(objects)}/x_train.npy"
    objects.write(key, objects.read(key)[:-1])


def flip_bit(objects: CountingObjects) -> None:
    key = f"{folder_of(objects)}/x_train.npy"
    content = bytearray(objects.read(key))
    content[-1] ^= 1
    objects.write(key, bytes(content))


def spoil_header(objects: CountingObjects) -> None:
    key = f"{folder_of(objects)}/x_train.npy"
    objects.write(key, b"GIF89a" + objects.read(key)[6:])


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_pointer,
        spoil_pointer_json,
        spoil_meta_json,
        spoil_meta_folder,
        spoil_meta_arrays,
        cut_array,
        flip_bit,
        spoil_header,
    ],
)
def test_what_is_not_what_was_pushed_is_refused_and_not_kept(
    objects: CountingObjects, files: FolderFiles, tmp_path: Path, spoil: Any
) -> None:
    spoil(objects)
    with pytest.raises(DataCorrupted, match="E106"):
        fetch_data(make_run(), files, objects)
    kept = [path.name for path in (tmp_path / "shared").rglob("*") if path.is_file()]
    assert "x_train.npy" not in kept and "meta.json" not in kept
    assert not [name for name in kept if name.endswith(".part")]


class TestRecipe:
    """A user's own recipe file."""

    digest = xxhash.xxh3_128_hexdigest(RECIPE)

    @property
    def run(self) -> Run:
        return make_run(recipe=f"recipes/{self.digest}.py", recipe_digest=self.digest)

    def test_it_arrives_by_its_digest(self, objects: CountingObjects, files: FolderFiles) -> None:
        objects.write(f"recipes/{self.digest}.py", RECIPE)
        fetch_data(self.run, files, objects)
        assert files.read(f"recipes/{self.digest}.py") == RECIPE

    def test_one_that_nobody_brought_is_unknown(self, objects: CountingObjects, files: FolderFiles) -> None:
        with pytest.raises(UnknownRecipe, match="E101"):
            fetch_data(self.run, files, objects)

    def test_another_file_under_its_name_is_not_kept(self, objects: CountingObjects, files: FolderFiles) -> None:
        objects.write(f"recipes/{self.digest}.py", RECIPE + b"import os\n")
        with pytest.raises(DataCorrupted, match="E106"):
            fetch_data(self.run, files, objects)
        assert not files.exists(f"recipes/{self.digest}.py")

    def test_a_damaged_copy_is_replaced(self, objects: CountingObjects, files: FolderFiles) -> None:
        objects.write(f"recipes/{self.digest}.py", RECIPE)
        files.write(f"recipes/{self.digest}.py", [RECIPE[:-3]], durable=True)
        fetch_data(self.run, files, objects)
        assert files.read(f"recipes/{self.digest}.py") == RECIPE


def test_two_fetches_at_once_do_no_harm(objects: CountingObjects, files: FolderFiles) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: fetch_data(make_run(), files, objects), range(2))
    assert first == second
    assert set(load_prepared(files, first, SPLITS)) == set(SPLITS)
    assert files.names(first["folder"]) == sorted([*(f"{name}.npy" for name in SPLITS), "meta.json"])
