"""Examples as small pictures: what is in them, and how large they may be together."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from training.thumbnails import MAX_BYTES, is_picture, thumbnails


def opened(file: bytes) -> Image.Image:
    return Image.open(io.BytesIO(file))


def noise(shape: tuple[int, ...], level: int = 255) -> np.ndarray:
    return np.random.default_rng(0).integers(0, level + 1, shape).astype(np.uint8)


@pytest.mark.parametrize("shape", [(8, 8), (28, 20, 1), (32, 32, 3)])
def test_a_small_picture_is_exact(shape: tuple[int, ...]) -> None:
    x = noise((3, *shape))
    files = thumbnails(x)
    for file, example in zip(files, x, strict=True):
        assert opened(file).format == "PNG"
        assert (np.asarray(opened(file)) == example.squeeze()).all()


def test_white_is_the_data_sets_own_level() -> None:
    sixteen = np.array([[[0, 8, 16]]], np.uint8)
    assert np.asarray(opened(thumbnails(sixteen, 16)[0])).tolist() == [[0, 128, 255]]
    fractions = np.array([[[-1, 0.5, 7, np.nan]]], np.float32)
    assert np.asarray(opened(thumbnails(fractions, 1)[0])).tolist() == [[0, 128, 255, 0]]


@pytest.mark.parametrize(("shape", "size"), [((224, 112, 3), (32, 64)), ((40, 40, 3), (40, 40)), ((10, 300), (64, 2))])
def test_a_larger_picture_is_a_jpeg_with_sides_of_64_at_most(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    (file,) = thumbnails(np.full((1, *shape), 200, np.uint8))
    picture = opened(file)
    assert (picture.format, picture.size) == ("JPEG", size)
    assert np.abs(np.asarray(picture).astype(int) - 200).max() <= 2


@pytest.mark.parametrize("side", [32, 64, 224])
def test_even_noise_stays_small_enough(side: int) -> None:
    files = thumbnails(noise((48, side, side, 3)))
    assert len(files) == 48 and sum(map(len, files)) <= MAX_BYTES
    assert thumbnails(noise((48, side, side, 3)), max_bytes=1_000) == ()


@pytest.mark.parametrize(("shape", "wanted"), [((8, 8), True), ((8, 8, 1), True), ((8, 8, 3), True)])
def test_pictures_are_known_by_their_shape(shape: tuple[int, ...], wanted: bool) -> None:
    assert is_picture(shape) == wanted


@pytest.mark.parametrize("shape", [(8,), (8, 8, 2), (4, 8, 8, 3), ()])
def test_other_data_have_no_pictures(shape: tuple[int, ...]) -> None:
    assert not is_picture(shape)
    assert thumbnails(np.zeros((2, *shape))) == ()
