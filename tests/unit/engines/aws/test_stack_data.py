"""Data sets on their way to the bucket."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import DataCorrupted, DataNotFound, InvalidSetting, LambdafitError
from contracts.stack_errors import AwsRefused
from engines.aws import AwsEngine
from engines.aws_stack import datasets
from engines.aws_stack.bucket import Bucket
from engines.aws_stack.prepare_process import Wanted, prepare_apart
from fakes.deployed_stack import DeployedStack
from runs.describe_recipe import DataPlaces
from stores.shared_files import FolderFiles
from training.datasets.folder import NAMES, folder_source
from training.datasets.prepare import prepare_dataset, prepared_folder
from training.datasets.prepared import load_prepared
from training.datasets.source import source_named


class Uploads:
    """What was announced, and how many bytes moved."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int]] = []
        self.moved = 0

    def begin(self, what: str, length: int) -> Callable[[int], None]:
        self.begun.append((what, length))

        def move(count: int) -> None:
            self.moved += count

        return move


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    folder = tmp_path / "leaves"
    folder.mkdir()
    generator = np.random.default_rng(1)
    for name, rows in zip(NAMES, (40, 40, 10, 10), strict=True):
        shape = (rows, 3) if name.startswith("x") else (rows,)
        np.save(folder / f"{name}.npy", generator.integers(0, 3, shape, dtype=np.uint8))
    return folder


@pytest.fixture
def places(tmp_path: Path) -> DataPlaces:
    return DataPlaces("", str(tmp_path / "downloads"))


def test_a_folder_goes_to_the_bucket_as_the_functions_want_it(
    engine: AwsEngine, stack: DeployedStack, arrays: Path, places: DataPlaces, tmp_path: Path
) -> None:
    uploads = Uploads()
    (arrays / "class_names.txt").write_text("oak\nash\nelm\n")
    wanted = Wanted(folder=str(arrays), name="leaves")
    stored = datasets.bring(engine.bucket, wanted, None, places, uploads.begin)
    assert json.loads(engine.bucket.read("datasets/leaves.json") or b"") == {"folder": stored.folder}
    assert uploads.begun == [("data set leaves", stored.facts["bytes"])]
    assert uploads.moved == stored.facts["bytes"]
    assert stored.facts["class_names"] == ["oak", "ash", "elm"]
    files = FolderFiles(tmp_path / "mount")
    for key in stack.objects(f"{stored.folder}/"):
        files.write(key, [engine.bucket.read(key)], durable=False)
    loaded = load_prepared(files, stored.facts, ("x_train", "x_val", "x_test"))
    assert [len(array) for array in loaded.values()] == [36, 4, 10]
    assert np.array_equal(loaded["x_test"], np.load(arrays / "x_test.npy"))
    assert datasets.find(engine.bucket, "leaves").facts == stored.facts


def test_what_is_there_is_not_uploaded_again(
    engine: AwsEngine, stack: DeployedStack, arrays: Path, places: DataPlaces
) -> None:
    wanted = Wanted(folder=str(arrays), name="leaves")
    first = datasets.bring(engine.bucket, wanted, None, places, Uploads().begin)
    again = Uploads()
    assert datasets.bring(engine.bucket, wanted, None, places, again.begin) == first
    assert again.begun == []


def test_a_push_that_was_cut_short_goes_on(
    engine: AwsEngine, arrays: Path, places: DataPlaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = prepare_apart(Wanted(folder=str(arrays), name="leaves"), places, tmp_path / "prepared")
    uploaded: list[str] = []
    real = Bucket.upload

    def failing(self: Bucket, path: Path, key: str, digest: str, progress: Callable[[int], None]) -> bool:
        if path.name == "x_test.npy" and "x_test.npy" not in uploaded:
            uploaded.append(path.name)
            raise AwsRefused(key, "the line broke")
        done = real(self, path, key, digest, progress)
        if done:
            uploaded.append(path.name)
        return done

    monkeypatch.setattr(Bucket, "upload", failing)
    with pytest.raises(AwsRefused):
        datasets.upload(engine.bucket, tmp_path / "prepared", facts, Uploads().begin)
    with pytest.raises(DataNotFound, match="it has no data set 'leaves'"):
        datasets.find(engine.bucket, "leaves")
    second = Uploads()
    datasets.upload(engine.bucket, tmp_path / "prepared", facts, second.begin)
    assert len(uploaded) == len(set(uploaded)) + 1  # x_test.npy alone was begun twice
    assert second.moved == facts["bytes"]
    assert datasets.find(engine.bucket, "leaves").facts == facts


def test_a_built_in_data_set_is_prepared_as_on_this_machine(
    engine: AwsEngine, places: DataPlaces, tmp_path: Path
) -> None:
    source = source_named("digits")
    stored = datasets.bring(engine.bucket, Wanted(recipe="digits-mlp"), source, places, Uploads().begin)
    here = prepare_dataset(source, FolderFiles(tmp_path), data_folder=None, cache_folder=tmp_path / "downloads")
    assert stored.facts == here
    assert [one.name for one in datasets.stored(engine.bucket)] == ["digits"]


def test_published_files_that_are_in_the_bucket_are_not_wanted_here(engine: AwsEngine, stack: DeployedStack) -> None:
    source = source_named("fashion-mnist")
    folder = prepared_folder(source)
    stack.put(f"{folder}/meta.json", b'{"name": "fashion-mnist"}')
    nowhere = DataPlaces("/nonexistent", "/nonexistent")
    stored = datasets.bring(engine.bucket, Wanted(dataset="fashion-mnist"), source, nowhere, Uploads().begin)
    assert stored.folder == folder
    assert datasets.find(engine.bucket, "fashion-mnist").folder == folder


def test_an_own_recipes_data_are_loaded_in_a_process_of_its_own(
    engine: AwsEngine, places: DataPlaces, tmp_path: Path
) -> None:
    recipe = tmp_path / "mine.py"
    recipe.write_text(
        "import numpy as np\n"
        "from training.datasets.source import Arrays, DataSource\n"
        "from training.recipe import Recipe\n"
        "print('a recipe may print')\n"
        "def load(folder):\n"
        "    return Arrays(np.ones((20, 2)), np.zeros(20, np.int64), np.ones((4, 2)), np.zeros(4, np.int64))\n"
        "recipe = Recipe(name='mine', title='t', dataset=DataSource(name='ones', load=load), build_model=None,\n"
        "                build_optimizer=None, build_loss=None)\n"
    )
    stored = datasets.bring(engine.bucket, Wanted(recipe=str(recipe)), None, places, Uploads().begin)
    assert (stored.name, stored.facts["train_examples"]) == ("ones", 18)


def spoil(folder: Path, name: str, array: object) -> None:
    np.save(folder / f"{name}.npy", array, allow_pickle=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda folder: (folder / "y_test.npy").unlink(), DataNotFound, "it has no y_test.npy"),
        (lambda folder: (folder / "x_test.npy").write_bytes(b"PK"), DataCorrupted, "x_test.npy: it cannot be read"),
        (lambda folder: spoil(folder, "y_train", np.array([{}] * 40)), DataCorrupted, "y_train.npy: it cannot be read"),
        (lambda folder: spoil(folder, "y_train", np.zeros(39)), DataCorrupted, "as many labels as examples"),
        (lambda folder: spoil(folder, "x_train", np.full((40, 3), np.nan)), DataCorrupted, "NaN or infinity"),
        (lambda folder: spoil(folder, "x_train", np.array([["a"]] * 40)), DataCorrupted, "expected numbers"),
        (lambda folder: (folder / "class_names.txt").write_text("only\n"), DataCorrupted, "labels from 0 to 2"),
    ],
)
def test_a_folder_that_cannot_be_trained_on_is_refused(
    engine: AwsEngine,
    stack: DeployedStack,
    arrays: Path,
    places: DataPlaces,
    change: Callable[[Path], object],
    error: type[LambdafitError],
    text: str,
) -> None:
    change(arrays)
    with pytest.raises(error, match=text):
        datasets.bring(engine.bucket, Wanted(folder=str(arrays), name="leaves"), None, places, Uploads().begin)
    assert stack.objects("datasets/") == []


def test_one_archive_is_a_data_set(arrays: Path, tmp_path: Path) -> None:
    loaded = {name: np.load(arrays / f"{name}.npy") for name in NAMES}
    np.savez(tmp_path / "leaves.npz", **loaded)
    found = folder_source(tmp_path / "leaves.npz", "leaves").load(tmp_path)
    assert np.array_equal(found.x_train, loaded["x_train"])
    np.savez(tmp_path / "few.npz", x_train=loaded["x_train"])
    with pytest.raises(DataNotFound, match="it has no y_train"):
        folder_source(tmp_path / "few.npz", "few").load(tmp_path)
    np.savez(tmp_path / "pickled.npz", **{**loaded, "y_test": np.array([{}] * 10)}, allow_pickle=True)
    with pytest.raises(DataCorrupted, match="cannot be read"):
        folder_source(tmp_path / "pickled.npz", "pickled").load(tmp_path)


@pytest.mark.parametrize("name", ["digits", "../up", "Leaves", "a b", ""])
def test_names_that_will_not_do(arrays: Path, name: str) -> None:
    with pytest.raises(InvalidSetting, match="--name"):
        folder_source(arrays, name)


def test_a_pointer_that_is_none(engine: AwsEngine, stack: DeployedStack) -> None:
    stack.put("datasets/x.json", b"[1]")
    with pytest.raises(AwsRefused, match="it is no JSON object"):
        datasets.find(engine.bucket, "x")
    stack.put("datasets/x.json", b'{"folder": "../x"}')
    with pytest.raises(DataNotFound):
        datasets.find(engine.bucket, "x")
