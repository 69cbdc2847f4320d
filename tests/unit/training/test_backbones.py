"""A frozen backbone before a head: trained through, or its outputs computed once; either way raw inputs predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from safetensors.numpy import load as load_safetensors
from small_recipes import CLASSES, EVERYTHING, build_adam, cross_entropy, no_arrays, run_through, work

from contracts.errors import NotFinite, RecipeFailed, WeightsNotFound
from training.backbones import FEATURES_BATCH
from training.compiled import CompiledRecipe
from training.datasets.source import DataSource
from training.evaluate import examine
from training.export import export_keras, export_safetensors, predict
from training.loop import ShardRun
from training.recipe import Recipe, backbone_digest, load_recipe, trains_on_features, without_weights
from training.recipes.softmax_head import softmax_head

SIDE, FILTERS = 6, 5


def build_backbone(settings: Mapping[str, Any]) -> keras.Model:
    """All that could tell training from predicting: it must never be asked to train."""
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3), name="image"),
            keras.layers.Rescaling(1 / settings["scale"]),
            keras.layers.Conv2D(FILTERS, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


def build_head(settings: Mapping[str, Any]) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((FILTERS,)),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(settings["dropout"]),
            keras.layers.Dense(CLASSES, activation="softmax", kernel_regularizer=keras.regularizers.L2(0.01)),
        ]
    )


TRANSFER = Recipe(
    name="small-transfer",
    title="a small convolution, frozen",
    dataset=DataSource(name="noise", load=no_arrays, input_shape=(SIDE, SIDE, 3)),
    build_model=build_head,
    build_backbone=build_backbone,
    backbone_settings=("scale",),
    build_optimizer=build_adam,
    build_loss=cross_entropy,
    settings={"learning_rate": 0.01, "dropout": 0.3, "features": True, "scale": 255.0},
)


def made(recipe: Recipe = TRANSFER, **settings: Any) -> CompiledRecipe:
    return CompiledRecipe(recipe, dict(recipe.settings) | settings)


def pictures(examples: int = 50) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    x = random.integers(0, 256, (examples, SIDE, SIDE, 3), dtype=np.uint8)
    return x, random.integers(0, CLASSES, examples).astype(np.uint8)


@pytest.fixture(scope="module")
def on() -> CompiledRecipe:
    return made()


@pytest.fixture(scope="module")
def off() -> CompiledRecipe:
    return made(features=False)


def trained(recipe: CompiledRecipe, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    theta, constants, state = recipe.initial(5)
    run = ShardRun(recipe, work(), x, y)
    run.start(theta, constants, state)
    run_through(run)
    return theta + run.update(theta), dict(constants)


# --- features ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("examples", [1, FEATURES_BATCH - 1, FEATURES_BATCH, 2 * FEATURES_BATCH + 3])
def test_features_do_not_depend_on_the_cut(on: CompiledRecipe, examples: int) -> None:
    x, _ = pictures(2 * FEATURES_BATCH + 3)
    whole = on.features(x)
    assert (whole.shape, whole.dtype) == ((len(x), FILTERS), np.float16)
    assert on.features(x[-examples:]).tobytes() == whole[-examples:].tobytes()


def test_features_are_those_of_predicting(on: CompiledRecipe) -> None:
    x, _ = pictures()
    assert on.features(x) == pytest.approx(np.asarray(on.backbone(x, training=False)), rel=1e-3, abs=1e-3)


def test_features_are_the_same_in_another_process_state(on: CompiledRecipe) -> None:
    x, _ = pictures(5)
    keras.layers.Dense(3)  # counts on the names
    keras.utils.set_random_seed(99)
    assert made().features(x).tobytes() == on.features(x).tobytes()


def test_no_examples_have_no_features(on: CompiledRecipe) -> None:
    assert on.features(np.zeros((0, SIDE, SIDE, 3), np.uint8)).shape == (0, FILTERS)


@pytest.mark.parametrize(("scale", "largest"), [(1e-6, r"goes up to \d"), (0.0, "goes up to (nan|inf)")])
def test_features_that_half_precision_cannot_hold_are_refused(scale: float, largest: str) -> None:
    def build(settings: Mapping[str, Any]) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((SIDE, SIDE, 3)),
                keras.layers.Rescaling(1 / scale if scale else float("inf")),
                keras.layers.GlobalAveragePooling2D(),
            ]
        )

    x, _ = pictures(FEATURES_BATCH + 2)
    x[: FEATURES_BATCH + 1] = 0
    x[FEATURES_BATCH] = 1 if scale else 0
    recipe = made(replace(TRANSFER, build_backbone=build))
    with pytest.raises(NotFinite, match=largest):
        recipe.features(x)


def test_a_backbone_is_built_only_when_it_is_asked_for() -> None:
    calls: list[str] = []

    def build(settings: Mapping[str, Any]) -> keras.Model:
        calls.append("built")
        return build_backbone(settings)

    recipe = made(replace(TRANSFER, build_backbone=build))
    x = np.zeros((50, FILTERS), np.float16)
    theta, constants = trained(recipe, x, pictures()[1])
    examine(recipe, theta, constants, x, pictures()[1])
    assert (calls, constants) == ([], {})
    for _ in range(2):
        predict(recipe, theta, constants, pictures(3)[0])
    assert calls == ["built"]


# --- on and off ----------------------------------------------------------------------------------------------


def test_on_and_off_differ_in_nothing_but_half_precision(on: CompiledRecipe, off: CompiledRecipe) -> None:
    x, y = pictures()
    assert on.initial(5)[0].tobytes() == off.initial(5)[0].tobytes()
    assert on.layout == off.layout
    exact = np.asarray(on.backbone(x, training=False))
    one, two = trained(on, exact, y), trained(off, x, y)
    assert one[0] == pytest.approx(two[0], abs=1e-4)
    sums = [examine(on, *one, exact, y).sums, examine(off, *two, x, y).sums]
    assert sums[0] == pytest.approx(sums[1], rel=1e-4)


def test_trained_through_it_the_backbone_stays_as_it_was(off: CompiledRecipe) -> None:
    x, y = pictures()
    theta, constants = trained(off, x, y)
    assert len(constants) == 6
    after = off.variables.named(off.variables.constants)
    assert all((after[name].numpy() == value).all() for name, value in constants.items())
    assert off.layout.parameter_count == theta.size == 4 * FILTERS + FILTERS * CLASSES + CLASSES
    again, _ = trained(off, x, y)
    assert again.tobytes() == theta.tobytes()


@pytest.mark.parametrize("features", [True, False])
def test_the_keras_file_predicts_from_raw_pixels_in_safe_mode(features: bool, tmp_path: Path) -> None:
    recipe = made(features=features)
    x, y = pictures()
    theta, constants = trained(recipe, recipe.features(x) if features else x, y)
    path = tmp_path / "model.keras"
    path.write_bytes(export_keras(recipe, theta, constants))
    keras.backend.clear_session()
    opened = keras.models.load_model(path, safe_mode=True)
    wanted = predict(recipe, theta, constants, x)
    assert wanted.shape == (50, CLASSES)
    assert opened.predict(x, verbose=0) == pytest.approx(wanted, rel=1e-4)
    assert len(opened.trainable_variables) == 4


def test_the_safetensors_file_holds_the_backbone_by_the_same_names(on: CompiledRecipe, off: CompiledRecipe) -> None:
    found = []
    for recipe in (on, off):
        theta, constants, _ = recipe.initial(5)
        found.append(load_safetensors(export_safetensors(recipe, theta, constants)))
    assert sorted(found[0]) == sorted(found[1])
    assert len(found[0]) == 12
    assert all(found[0][name].tobytes() == found[1][name].tobytes() for name in found[0])


# --- what does not go together -------------------------------------------------------------------------------


def without_input(settings: Mapping[str, Any]) -> keras.Model:
    return keras.Sequential([keras.layers.Dense(CLASSES)])


def flat_backbone(settings: Mapping[str, Any]) -> keras.Model:
    return keras.Sequential([keras.Input((SIDE, SIDE, 3)), keras.layers.Conv2D(2, 3)])


def broad_head(settings: Mapping[str, Any]) -> keras.Model:
    return keras.Sequential([keras.Input((FILTERS + 1,)), keras.layers.Dense(CLASSES, activation="softmax")])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"build_model": without_input}, r"the model behind a backbone has no keras\.Input"),
        ({"build_model": broad_head}, r"the head takes \(None, 6\) and the backbone gives \(None, 5\)"),
        ({"build_backbone": without_input}, r"the backbone has no keras\.Input"),
        ({"build_backbone": flat_backbone}, r"outputs have the shape \(None, 4, 4, 2\), expected features"),
        ({"build_backbone": lambda settings: 3}, "build_backbone returned a int"),
        ({"build_backbone": lambda settings: 1 / 0}, r"test_backbones\.py:\d+: building the backbone: ZeroDivision"),
    ],
)
@pytest.mark.parametrize("features", [True, False])
def test_parts_that_do_not_fit_are_named(changes: dict[str, Any], message: str, features: bool) -> None:
    with pytest.raises(RecipeFailed, match=message):
        _ = made(replace(TRANSFER, **changes), features=features).whole


def test_a_recipe_without_a_backbone_has_none() -> None:
    recipe = made(EVERYTHING)
    assert recipe.whole is recipe.model is recipe.head
    with pytest.raises(RecipeFailed, match="no build_backbone"):
        _ = recipe.backbone


# --- the built-in ones ---------------------------------------------------------------------------------------

BUILTIN = {"image_size": 32, "weights": "weights/" + "a" * 32 + ".weights.h5", "features": True}


@pytest.mark.parametrize("name", ["cifar10-vgg19", "cifar10-mobilenetv2"])
def test_the_digest_of_a_backbone_is_that_of_its_code_and_settings(name: str) -> None:
    first = backbone_digest(name, BUILTIN)
    assert len(first) == 32
    assert backbone_digest(name, BUILTIN | {"learning_rate": 5, "dropout": 0.5}) == first
    assert backbone_digest(name, BUILTIN | {"weights": "/mnt/shared/" + BUILTIN["weights"]}) == first
    others = [BUILTIN | change for change in ({"image_size": 33}, {"weights": ""})]
    assert first not in [backbone_digest(name, other) for other in others]
    assert backbone_digest(name, BUILTIN | {"features": False}) == ""
    assert backbone_digest("digits-mlp", {}) == ""


def test_a_recipe_of_ones_own_is_known_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    source = """
from training.recipe import Recipe
def build(settings): ...
recipe = Recipe(name="mine", title="t", dataset="digits", build_model=build, build_optimizer=build, build_loss=build,
                build_backbone=build)
"""
    path.write_text(source)
    first = backbone_digest(str(path), {})
    assert len(first) == 32
    path.write_text(source + "# changed\n")
    assert backbone_digest(str(path), {}) != first
    path.write_text(source.replace("build_backbone=build", 'build_backbone=build, backbone_settings=("size",)'))
    with pytest.raises(RecipeFailed, match="backbone_settings and ranges name size"):
        backbone_digest(str(path), {})


def test_features_are_on_unless_they_are_switched_off() -> None:
    assert trains_on_features(TRANSFER, {})
    assert not trains_on_features(TRANSFER, {"features": False})
    assert not trains_on_features(EVERYTHING, {"features": True})


def test_a_built_in_backbone_wants_its_weights() -> None:
    recipe = load_recipe("cifar10-mobilenetv2")
    compiled = made(recipe, image_size=32)
    assert compiled.layout.parameter_count == 1280 * 10 + 10
    assert not compiled.initial(5)[0].any()
    with pytest.raises(WeightsNotFound, match="no file was named"):
        _ = compiled.backbone


def test_the_built_in_head_is_the_one_that_was_chosen() -> None:
    """`make bench-head`: unit length, then a softmax that begins at zeros; Adam at 0.01, no dropout."""
    recipe = load_recipe("cifar10-vgg19")
    x = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]], np.float32)
    head = softmax_head(2, recipe.settings)
    assert np.asarray(head(x)) == pytest.approx(np.full((3, 10), 0.1))
    head.layers[-1].set_weights([np.eye(2, 10, dtype=np.float32), np.zeros(10, np.float32)])
    found = np.asarray(head(x))
    assert found[0] == pytest.approx(np.exp([0.6, 0.8, *[0] * 8]) / np.exp([0.6, 0.8, *[0] * 8]).sum())
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert np.isfinite(found).all()
    assert float(recipe.build_optimizer(recipe.settings).learning_rate) == pytest.approx(0.01)
    assert recipe.settings["dropout"] == 0.0


@pytest.mark.parametrize("name", ["cifar10-vgg19", "cifar10-mobilenetv2"])
def test_a_built_in_head_takes_what_its_backbone_gives(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    compiled = made(recipe, **without_weights(recipe, {"image_size": 32}))
    assert compiled.whole.input_shape == (None, 32, 32, 3)
    assert compiled.whole.output_shape == (None, 10)
    assert Path(recipe.build_backbone.__code__.co_filename).stem == name.replace("-", "_")  # whose digest names it
