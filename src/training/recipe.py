"""What a recipe is, where recipes come from, and how their settings are checked.

TensorFlow is not imported here: the command line reads recipes without paying for it.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import json
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import xxhash

from contracts.errors import RecipeFailed, UnknownRecipe
from training.datasets.source import DataSource
from training.failures import code_file, recipe_code
from training.weights import NOT_LOADED, WEIGHTS, PublishedWeights, file_name

if TYPE_CHECKING:
    import keras

Task = Literal["classification", "regression"]
Settings = Mapping[str, Any]

_BUILTIN = {
    "digits-mlp": "training.recipes.digits_mlp",
    "fashion-mnist-mlp": "training.recipes.fashion_mnist_mlp",
    "fashion-mnist-cnn": "training.recipes.fashion_mnist_cnn",
    "cifar10-vgg19": "training.recipes.cifar10_vgg19",
    "cifar10-mobilenetv2": "training.recipes.cifar10_mobilenetv2",
}
"""Name → module. Spelled out, so that listing them imports none of them."""

FEATURES = "features"
"""The setting of a recipe with a backbone that says whether its outputs are computed once; it is on by default."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model with its data, its loss, its inner optimizer and defaults.

    Args:
        name: short and unique.
        title: one line on what it does.
        dataset: the name of a built-in data set, or a `DataSource` of one's own.
        build_model: settings → a Keras model with one input and one output. For classification the output is
            probabilities of shape (examples, classes), or (examples, 1) for two classes. With a backbone it is the
            head alone: the backbone's features → predictions, with a `keras.Input`.
        build_optimizer: settings → the inner optimizer, which steps inside a worker.
        build_loss: settings → a Keras loss, or a function (y, prediction) → losses of shape (examples,).
            Its reduction is not used: batches are weighted by their examples.
        task: what the metrics are: accuracy, or the mean absolute error.
        batch_size: examples in a step of the whole run, before it is divided among workers.
        epochs: passes over the training data.
        settings: the recipe's own settings with their default values: bool, int, float or str.
        ranges: the smallest and the largest value of some settings.
        build_backbone: settings → a Keras model with a `keras.Input`, from the data set's examples to features of
            shape (examples, features). It is frozen, and called as for predictions. With the setting `features` on, its
            outputs are computed once and the head trains on these, in half precision; otherwise they are computed anew
            in each step. It must not depend on anything but the settings that `backbone_settings` names.
        backbone_settings: the settings that the backbone depends on. `weights` among them is the path of a file of
            weights, which `build_backbone` loads by `training.weights.load_weights`.
        weights: the published file that the setting `weights` stands for where it is empty.
    """

    name: str
    title: str
    dataset: str | DataSource
    build_model: Callable[[Settings], keras.Model]
    build_optimizer: Callable[[Settings], keras.optimizers.Optimizer]
    build_loss: Callable[[Settings], Any]
    task: Task = "classification"
    batch_size: int = 64
    epochs: int = 5
    settings: Settings = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    build_backbone: Callable[[Settings], keras.Model] | None = None
    backbone_settings: tuple[str, ...] = ()
    weights: PublishedWeights | None = None


def builtin_names() -> tuple[str, ...]:
    """The names of the built-in recipes."""
    return tuple(_BUILTIN)


def load_recipe(name_or_path: str) -> Recipe:
    """A built-in recipe by its name, or a user's from a path that ends in `.py`.

    Raises:
        UnknownRecipe: there is no such name or file, or the file defines no `recipe`.
        RecipeFailed: the file raised an exception; the message names its line.
    """
    if not _is_path(name_or_path):
        return _recipe_of(importlib.import_module(_builtin_module(name_or_path)), name_or_path)
    path = Path(name_or_path)
    source = _read(path)
    module = types.ModuleType(f"lambdafit_recipe_{xxhash.xxh3_128_hexdigest(source)}")
    module.__file__ = str(path)
    with recipe_code(str(path), "reading the recipe"):
        # The bytes that were hashed are the bytes that run, and nothing is written beside a user's file.
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102
    return _recipe_of(module, name_or_path)


def recipe_digest(name_or_path: str) -> str:
    """xxh3-128 of the recipe's source file, in hexadecimal.

    Raises:
        UnknownRecipe: there is no such recipe.
    """
    if _is_path(name_or_path):
        return xxhash.xxh3_128_hexdigest(_read(Path(name_or_path)))
    spec = importlib.util.find_spec(_builtin_module(name_or_path))
    if spec is None or spec.origin is None:
        raise UnknownRecipe("recipe", f"{name_or_path!r} has no source file")
    return xxhash.xxh3_128_hexdigest(Path(spec.origin).read_bytes())


def trains_on_features(recipe: Recipe, settings: Settings) -> bool:
    """Whether the backbone's outputs are computed once, and the data that the model trains on are these."""
    return recipe.build_backbone is not None and bool(settings.get(FEATURES, True))


def backbone_digest(name_or_path: str, settings: Settings) -> str:
    """xxh3-128 of what a backbone's outputs depend on beside the data: its file's code and its settings' values.

    Weights count by their file's name, which is that of their content once a run has begun.

    Args:
        settings: all of the recipe's, as a run holds them.
    Returns:
        hexadecimal; empty where there is no backbone, or it is not computed once.
    Raises:
        UnknownRecipe, RecipeFailed: the recipe is not there or raised.
    """
    recipe = load_recipe(name_or_path)
    if recipe.build_backbone is None or not trains_on_features(recipe, settings):
        return ""
    values = {name: settings[name] for name in sorted(recipe.backbone_settings)}
    if isinstance(values.get(WEIGHTS), str):
        values[WEIGHTS] = file_name(values[WEIGHTS])
    hasher = xxhash.xxh3_128(json.dumps(values).encode())
    hasher.update(_read(Path(code_file(recipe.build_backbone))))
    return str(hasher.hexdigest())


def without_weights(recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """Settings for a backbone of which only the shape matters: no weights are loaded."""
    return dict(settings) | ({WEIGHTS: NOT_LOADED} if WEIGHTS in recipe.backbone_settings else {})


def recipe_file(recipe: Recipe) -> str:
    """The file that the recipe's model is built in, so that its line can be named in an error."""
    return code_file(recipe.build_model)


def _is_path(name_or_path: str) -> bool:
    return name_or_path.endswith(".py")


def _builtin_module(name: str) -> str:
    if name not in _BUILTIN:
        close = difflib.get_close_matches(name, _BUILTIN, n=2, cutoff=0.5)
        raise UnknownRecipe("recipe", repr(name), " or ".join(close) or "one of " + ", ".join(_BUILTIN))
    return _BUILTIN[name]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnknownRecipe("recipe", f"{path} cannot be read ({error.strerror})") from None


def _recipe_of(module: types.ModuleType, name_or_path: str) -> Recipe:
    recipe = getattr(module, "recipe", None)
    if recipe is None:
        raise UnknownRecipe("recipe", f"{name_or_path} defines no `recipe`")
    if not isinstance(recipe, Recipe):
        raise RecipeFailed(name_or_path, f"`recipe` is a {type(recipe).__name__}", "a training.recipe.Recipe")
    unknown = {*recipe.backbone_settings, *recipe.ranges} - set(recipe.settings)
    if unknown:
        received = f"backbone_settings and ranges name {', '.join(sorted(unknown))}"
        raise RecipeFailed(name_or_path, received, "names of its settings")
    return recipe
