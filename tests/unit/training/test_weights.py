"""Files of weights: found, downloaded and checked as published; loaded in both of Keras's formats or refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import xxhash

from contracts.errors import WeightsNotFound, WeightsUnfit
from training.recipe import load_recipe, without_weights
from training.weights import (
    NOT_LOADED,
    PublishedWeights,
    file_digest,
    file_name,
    find_published,
    is_here,
    is_shared,
    load_weights,
    shared_path,
    with_local_weights,
)

CONTENT = b"0123456789"
NOWHERE = Path("/nowhere")
SHARED = shared_path("0123456789abcdef" * 2)


# --- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "mine.h5", SHARED + "x", "/" + SHARED, SHARED.upper(), "../" + SHARED, None, 3])
def test_only_a_digests_path_is_one_on_the_shared_files(text: Any) -> None:
    assert is_shared(SHARED)
    assert not is_shared(text)
    assert with_local_weights({"weights": text, "a": 1}, lambda path: f"/mnt/{path}") == {"weights": text, "a": 1}


def test_a_runs_weights_get_their_path_on_this_machine() -> None:
    settings = {"weights": SHARED, "rate": 0.5}
    found = with_local_weights(settings, lambda path: f"/mnt/{path}")
    assert found == {"weights": f"/mnt/{SHARED}", "rate": 0.5}
    assert settings["weights"] == SHARED
    assert with_local_weights({}, str) == {}
    assert file_name(found["weights"]) == file_name(SHARED)


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    assert file_digest(tmp_path / "a") == xxhash.xxh3_128_hexdigest(CONTENT)
    with pytest.raises(WeightsNotFound, match="cannot be read"):
        file_digest(tmp_path / "b")


# --- loading -------------------------------------------------------------------------------------------------


def model(filters: int = 3, more: bool = False) -> keras.Model:
    layers = [keras.Input((4, 4, 3)), keras.layers.Conv2D(filters, 3, name="conv")]
    return keras.Sequential(layers + [keras.layers.Dense(2, name="dense")] * more, name="small")


def values(of: keras.Model) -> list[bytes]:
    return [array.tobytes() for array in of.get_weights()]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """One model's weights as `new`, `old` (a whole model) and `published` (the older format, as Keras publishes)."""
    folder = tmp_path_factory.mktemp("weights")
    one = model()
    one.save_weights(folder / "new.weights.h5")
    one.save(folder / "old.h5")
    with h5py.File(folder / "old.h5") as old, h5py.File(folder / "published.h5", "w") as published:
        for name in old["model_weights"]:
            old.copy(f"model_weights/{name}", published)
        published.attrs.update(old["model_weights"].attrs)
    return folder, values(one)


@pytest.mark.parametrize("name", ["new.weights.h5", "old.h5", "published.h5"])
@pytest.mark.parametrize("called", ["as it was", SHARED, "my weights"])
def test_weights_load_whatever_their_file_is_called(
    saved: tuple[Path, list[bytes]], tmp_path: Path, name: str, called: str
) -> None:
    folder, wanted = saved
    path = folder / name
    if called != "as it was":
        path = tmp_path / Path(called).name
        path.write_bytes((folder / name).read_bytes())
    other = model()
    assert values(other) != wanted
    load_weights(other, str(path))
    assert values(other) == wanted


@pytest.mark.parametrize("name", ["new.weights.h5", "old.h5", "published.h5"])
@pytest.mark.parametrize("changes", [{"filters": 4}, {"more": True}])
def test_another_models_weights_are_refused(
    saved: tuple[Path, list[bytes]], name: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(WeightsUnfit, match=r"does not fit .*, expected those of small"):
        load_weights(model(**changes), str(saved[0] / name))


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", "cut", "no group"])
def test_what_is_no_file_of_weights_is_refused(
    saved: tuple[Path, list[bytes]], tmp_path: Path, content: bytes | str
) -> None:
    path = tmp_path / "x.h5"
    if content == "cut":
        whole = (saved[0] / "new.weights.h5").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif content == "no group":
        with h5py.File(path, "w") as file:
            file["x"] = np.arange(3)
    else:
        assert isinstance(content, bytes)
        path.write_bytes(content)
    with pytest.raises(WeightsUnfit, match=r"x\.h5"):
        load_weights(model(), str(path))


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound, match=r"E113 .*weights of small: no file .*/x\.h5"):
        load_weights(model(), str(tmp_path / "x.h5"))
    with pytest.raises(WeightsNotFound, match="no file was named"):
        load_weights(model(), "")
    before = model()
    load_weights(before, NOT_LOADED)


def test_a_shape_is_built_without_weights() -> None:
    recipe = load_recipe("cifar10-mobilenetv2")
    assert without_weights(recipe, {"weights": SHARED, "a": 1}) == {"weights": NOT_LOADED, "a": 1}
    assert without_weights(load_recipe("digits-mlp"), {"units": 1}) == {"units": 1}


# --- as published --------------------------------------------------------------------------------------------


def published(url: str = "http://127.0.0.1:9/", content: bytes = CONTENT, kind: str = "md5") -> PublishedWeights:
    digest = f"{kind}:{hashlib.new(kind, content, usedforsecurity=False).hexdigest()}" if kind else ""
    return PublishedWeights(folder="small", name="x.h5", url=f"{url}published/x.h5", digest=digest)


def put(folder: Path, content: bytes = CONTENT) -> Path:
    path = folder / "small" / "x.h5"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ["md5", "sha256", ""])
def test_the_users_folder_comes_first_then_the_downloads(tmp_path: Path, kind: str) -> None:
    own, cached = put(tmp_path / "own"), put(tmp_path / "cache")
    assert find_published(published(kind=kind), tmp_path / "own", tmp_path / "cache") == own
    assert find_published(published(kind=kind), None, tmp_path / "cache") == cached
    assert find_published(published(kind=kind), NOWHERE, tmp_path / "cache") == cached
    assert is_here(published(), None, tmp_path / "cache")
    assert is_here(published(), tmp_path / "own", NOWHERE)
    assert not is_here(published(), tmp_path, NOWHERE)


def test_another_file_than_the_published_one_is_refused(tmp_path: Path) -> None:
    put(tmp_path, b"another")
    for folders in ((tmp_path, NOWHERE), (None, tmp_path)):
        with pytest.raises(WeightsUnfit, match=r"x\.h5: its md5 is .*, expected 781e5e245d69b566979b86e28d23f2c7"):
            find_published(published(), *folders)


def test_without_network_the_error_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsNotFound, match=r"no .*own/small/x\.h5 or .*cache/small/x\.h5, and http://127.* gave Conn"
    ):
        find_published(published(), tmp_path / "own", tmp_path / "cache")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server on this machine that serves `tmp_path`."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as listening:
        thread = Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/"
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["md5", ""])
def test_a_download_is_kept(tmp_path: Path, server: str, kind: str) -> None:
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "x.h5").write_bytes(CONTENT)
    found = find_published(published(server, kind=kind), tmp_path / "own", tmp_path / "cache")
    assert found == tmp_path / "cache" / "small" / "x.h5"
    assert found.read_bytes() == CONTENT
    (tmp_path / "published" / "x.h5").unlink()
    assert find_published(published(server, kind=kind), None, tmp_path / "cache") == found


def test_a_download_of_something_else_is_refused(tmp_path: Path, server: str) -> None:
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "x.h5").write_bytes(b"another")
    with pytest.raises(WeightsUnfit, match="published/x"):
        find_published(published(server), None, tmp_path / "cache")
    missing = replace(published(server), url=f"{server}elsewhere/x.h5")
    with pytest.raises(WeightsNotFound, match="HTTPError"):
        find_published(missing, None, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.h5"))


@pytest.mark.parametrize("name", ["cifar10-vgg19", "cifar10-mobilenetv2"])
def test_built_in_recipes_name_theirs_by_https(name: str) -> None:
    weights = load_recipe(name).weights
    assert weights is not None
    assert weights.url.startswith("https://")
    assert weights.url.endswith(f"/{weights.name}")
