"""A finished model opens elsewhere and predicts the same; any file that is not a fitting picture is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load as load_safetensors
from small_recipes import data, run_through, shared, started

from contracts.errors import InvalidImage
from training.compiled import CompiledRecipe, compiled_recipe
from training.export import export_keras, export_safetensors, predict
from training.images import read_image
from training.recipe import load_recipe

RED = (255, 0, 0)


@pytest.fixture(scope="module")
def trained() -> tuple[CompiledRecipe, np.ndarray]:
    recipe = shared()
    run, theta = started(recipe)
    run_through(run)
    return recipe, theta + run.update(theta)


def test_the_keras_file_opens_in_safe_mode(trained: tuple[CompiledRecipe, np.ndarray], tmp_path: Path) -> None:
    recipe, theta = trained
    path = tmp_path / "model.keras"
    path.write_bytes(export_keras(recipe, theta, {}))
    x, _ = data(20)
    wanted = predict(recipe, theta, {}, x)
    assert wanted.shape == (20, 3)
    assert wanted.sum(axis=1) == pytest.approx(np.ones(20), rel=1e-5)
    opened = keras.models.load_model(path, safe_mode=True)
    assert np.asarray(opened(x)) == pytest.approx(wanted, rel=1e-6)


def test_a_built_in_recipe_predicts_from_raw_pixels(tmp_path: Path) -> None:
    recipe = compiled_recipe("fashion-mnist-mlp", dict(load_recipe("fashion-mnist-mlp").settings) | {"units": 8})
    theta, constants, _ = recipe.initial(1)
    path = tmp_path / "model.keras"
    path.write_bytes(export_keras(recipe, theta, constants))
    x = np.random.default_rng(0).integers(0, 256, (600, 28, 28), dtype=np.uint8)
    opened = keras.models.load_model(path)
    assert np.asarray(opened.predict(x, verbose=0)) == pytest.approx(predict(recipe, theta, constants, x), rel=1e-4)


def test_the_safetensors_file_holds_every_tensor(trained: tuple[CompiledRecipe, np.ndarray]) -> None:
    recipe, theta = trained
    tensors = load_safetensors(export_safetensors(recipe, theta, {"frozen/kernel": np.ones(2, np.float32)}))
    for name, value in recipe.layout.split(theta).items():
        assert tensors[name].tobytes() == value.tobytes()
    assert tensors["frozen/kernel"].tolist() == [1, 1]


# --- pictures ------------------------------------------------------------------------------------------------


def saved(folder: Path, picture: Image.Image, name: str = "x.png", **options: Any) -> Path:
    path = folder / name
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "webp", "bmp", "gif", "tiff"])
def test_pictures_become_grey_levels(tmp_path: Path, suffix: str) -> None:
    levels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20  # (height, width)
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path, Image.fromarray(levels), f"x.{suffix}", **options)
    assert read_image(path, (3, 4)).tolist() == levels.tolist()
    assert read_image(path, (3, 4, 1)).tolist() == levels[:, :, None].tolist()
    assert read_image(path, (3, 4, 3)).tolist() == np.repeat(levels[:, :, None], 3, axis=2).tolist()


def test_colours_transparency_and_deep_levels_are_converted(tmp_path: Path) -> None:
    for mode in ("RGB", "RGBA", "CMYK"):
        path = saved(tmp_path, Image.new("RGB", (2, 2), RED).convert(mode), f"{mode}.tiff")
        assert read_image(path, (2, 2, 3))[0, 0] == pytest.approx(RED, abs=1)
        assert read_image(path, (2, 2))[0, 0] == pytest.approx(76, abs=1)
    palette = Image.new("RGB", (2, 2), RED).convert("P")
    assert read_image(saved(tmp_path, palette), (2, 2, 3))[0, 0].tolist() == list(RED)
    deep = Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16))
    assert read_image(saved(tmp_path, deep), (1, 3)).tolist() == [[0, 128, 255]]


def test_levels_are_scaled_to_those_of_the_data_set(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.array([[0, 128, 255]], np.uint8)))
    assert read_image(path, (1, 3), max_level=16).tolist() == [[0, 8, 16]]
    fractions = read_image(path, (1, 3), max_level=1)
    assert fractions.dtype == np.float32
    assert fractions[0] == pytest.approx([0, 128 / 255, 1])


def test_a_turned_photo_is_set_upright(tmp_path: Path) -> None:
    photo = Image.new("L", (4, 2))
    photo.getexif()[0x0112] = 6  # to be turned by a quarter
    path = saved(tmp_path, photo, "x.jpg", exif=photo.getexif())
    assert read_image(path, (4, 2)).shape == (4, 2)
    with pytest.raises(InvalidImage, match="2×4 pixels, expected 4×2"):
        read_image(path, (2, 4))


def test_another_size_is_refused_naming_both(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("L", (20, 30)))
    with pytest.raises(InvalidImage, match=r"x\.png: it is 20×30 pixels, expected 28×28"):
        read_image(path, (28, 28))


def png(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((8, 8), 50).save(stream, "PNG")
    content = bytearray(stream.getvalue())
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    import zlib

    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no picture",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
        png(8, 8)[:50],
        png(8, 8)[:30],
        png(8, 8).replace(b"IDAT", b"IDXT"),
        png(30_000, 30_000),
        png(0, 8),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(InvalidImage, match=r"x\.png"):
        read_image(path, (8, 8))


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidImage, match="no such file"):
        read_image(tmp_path / "none.png", (8, 8))
    with pytest.raises(InvalidImage):
        read_image(tmp_path, (8, 8))


def test_a_recipe_without_pictures_takes_none(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("L", (6, 1)))
    for shape in ((6,), (1, 6, 2), (1, 1, 6, 1)):
        with pytest.raises(InvalidImage, match="which no picture has"):
            read_image(path, shape)
