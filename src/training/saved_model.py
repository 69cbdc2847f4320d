"""A saved Keras model as a recipe: its architecture, weights, optimizer and loss are the file's.

The recipe is a small Python file that holds the model in itself, so that it travels and is known by its digest as any
recipe is. The model is loaded in Keras's safe mode: nothing in it is ever unpickled or run.
"""

from __future__ import annotations

import base64
import io
import json
import stat
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from contracts.errors import DataNotFound, RecipeFailed
from training.datasets.folder import folder_source
from training.datasets.npy_reading import BROKEN_ZIP, checked_member
from training.datasets.source import Arrays, DataSource
from training.recipe import Recipe, Settings

if TYPE_CHECKING:
    import keras

SUFFIX = ".keras"
LARGEST_BYTES = 32 << 20
"""Python reads the recipe as source text, which takes several times its size in memory."""

LARGEST_CONFIG_BYTES = 8 << 20
LARGEST_UNPACKED_BYTES = 4 * LARGEST_BYTES
"""Keras stores what it saves without packing it: more than this is no model but a bomb."""

BATCH_SIZE = 32
EPOCHS = 5
REGRESSION = ("mean_squared_error", "mean_absolute_error", "mean_squared_logarithmic_error", "huber", "log_cosh", "mse",
              "mae", "msle", "logcosh")  # fmt: skip

_TEMPLATE = '''"""The Keras model {name}, made a recipe of by lambdafit."""

from training.saved_model import recipe_of_model

recipe = recipe_of_model(
    name={name!r},
    dataset={dataset!r},
    folder={folder!r},
    model={model!r},
)
'''


def recipe_source(model: Path, name: str, dataset: str, folder: str) -> str:
    """The text of a recipe that holds a saved model.

    Args:
        dataset: a built-in data set, or the name of one's own.
        folder: where the arrays of one's own lie on this machine; empty for one that lies elsewhere.
    Raises:
        RecipeFailed: the file is no compiled Keras model, or too large.
    """
    try:
        content = model.read_bytes()
    except OSError as error:
        raise RecipeFailed(str(model), f"it cannot be read ({error.strerror})", "a model saved by Keras") from None
    if len(content) > LARGEST_BYTES:
        received, expected = f"it has {len(content) / 1e6:.1f} MB", f"at most {LARGEST_BYTES / 1e6:.1f} MB"
        advice = "Write a recipe whose build_model makes the model: `lambdafit train my_recipe.py`."
        raise RecipeFailed(str(model), received, expected, advice=advice)
    read_config(content, str(model))
    text = base64.b64encode(content).decode()
    return _TEMPLATE.format(name=name, dataset=dataset, folder=folder, model=text)


def recipe_of_model(*, name: str, dataset: str, folder: str, model: str) -> Recipe:
    """The recipe of a saved model; called by the file that `recipe_source` writes.

    Args:
        model: the `.keras` file as base64.
    Raises:
        RecipeFailed: it is no compiled Keras model.
    """
    try:
        content = base64.b64decode(model)
    except ValueError as error:
        raise RecipeFailed(name, f"it holds no base64 ({error})", "a file that lambdafit has written") from None
    compiled = read_config(content, name)["compile_config"]
    optimizer, loss = compiled["optimizer"], compiled["loss"]

    def build_model(_settings: Settings) -> keras.Model:
        return load(content)

    def build_optimizer(settings: Settings) -> Any:
        import keras

        made = keras.optimizers.get(json.loads(json.dumps(optimizer)))
        if "learning_rate" in settings:
            made.learning_rate = settings["learning_rate"]
        return made

    def build_loss(_settings: Settings) -> Any:
        import keras

        return keras.losses.get(loss)

    return Recipe(
        name=name,
        title=f"The Keras model {name}",
        dataset=dataset if not folder and _is_builtin(dataset) else _own(dataset, folder),
        build_model=build_model,
        build_optimizer=build_optimizer,
        build_loss=build_loss,
        task="regression" if _loss_name(loss) in REGRESSION else "classification",
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        settings=_learning_rate(optimizer),
    )


def load(content: bytes) -> keras.Model:
    """The model in a `.keras` file, with its weights."""
    import keras

    with tempfile.TemporaryDirectory(prefix="lambdafit-") as folder:
        path = Path(folder) / f"model{SUFFIX}"
        path.write_bytes(content)
        return keras.saving.load_model(path, compile=False, safe_mode=True)


def read_config(content: bytes, where: str) -> dict[str, Any]:
    """What a `.keras` file says of its model, without loading it.

    Raises:
        RecipeFailed: it is none, was not compiled, or does not end in probabilities.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_members(archive)
            config: Any = json.loads(archive.read("config.json"))
        compiled = config["compile_config"] or {}
        if not isinstance(compiled, dict):
            raise ValueError("its compile_config is no object")
    except (*BROKEN_ZIP, TypeError) as error:
        received = f"it is no Keras model ({type(error).__name__}: {str(error)[:200]})"
        raise RecipeFailed(where, received, "a file that model.save has written") from None
    if not compiled.get("optimizer") or not isinstance(compiled.get("loss"), (str, dict)):
        advice = "Call model.compile(optimizer=…, loss=…) before model.save(…)."
        raise RecipeFailed(where, "it was saved without an optimizer or with no single loss", "both", advice=advice)
    loss = compiled["loss"]
    if isinstance(loss, dict) and _settings_of(loss).get("from_logits"):
        advice = "Let the model end in softmax or sigmoid, with from_logits=False, and save it again."
        raise RecipeFailed(where, "its loss wants logits", "an output of probabilities", advice=advice)
    return dict(config)


def _check_members(archive: zipfile.ZipFile) -> None:
    """Before anything is unpacked, here or by Keras.

    Raises:
        KeyError, ValueError: a member lies outside of the archive, is a link, or unpacks to more than a model has.
    """
    unpacked = 0
    for info in archive.infolist():
        checked_member(archive, info.filename)
        parts = PurePosixPath(info.filename.replace("\\", "/")).parts
        if not parts or ".." in parts or parts[0] == "/" or ":" in parts[0] or stat.S_ISLNK(info.external_attr >> 16):
            raise ValueError(f"it holds {info.filename[:80]!r}")
        unpacked += info.file_size
    if archive.getinfo("config.json").file_size > LARGEST_CONFIG_BYTES or unpacked > LARGEST_UNPACKED_BYTES:
        raise ValueError(f"it unpacks to {unpacked} bytes")


def _learning_rate(optimizer: Any) -> dict[str, float]:
    """The optimizer's, if it is a number: JSON has whole numbers without end, and NaN."""
    rate = _settings_of(optimizer).get("learning_rate") if isinstance(optimizer, dict) else None
    return {"learning_rate": float(rate)} if isinstance(rate, int | float) and abs(rate) < 1e30 else {}


def _settings_of(loss: Mapping[str, Any]) -> dict[str, Any]:
    config = loss.get("config")
    return config if isinstance(config, dict) else {}


def _loss_name(loss: str | Mapping[str, Any]) -> str:
    """`mean_squared_error`, however it is written in the file."""
    if isinstance(loss, str):
        return loss
    config = loss.get("config")
    name = config.get("name", "") if isinstance(config, dict) else config
    return str(name or loss.get("class_name", ""))


def _is_builtin(dataset: str) -> bool:
    from training.datasets.source import builtin_sources

    return dataset in builtin_sources()


def _own(dataset: str, folder: str) -> DataSource:
    """One's own data set. It is loaded only where its folder is: elsewhere it comes prepared."""

    def load_folder(unused: Path) -> Arrays:
        if not folder:
            raise DataNotFound(f"data set {dataset}", "it lies in a stack, not on this machine", "--data FOLDER")
        return folder_source(Path(folder), dataset).load(unused)

    names = folder_source(Path(folder), dataset).class_names if folder and Path(folder).exists() else ()
    return DataSource(name=dataset, load=load_folder, class_names=names, license="the user's own")
