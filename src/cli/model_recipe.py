"""`train model.keras --data …`: a recipe of a saved model, written for the time of the start."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contracts.errors import InvalidSetting
from training.datasets.folder import check_name, folder_source
from training.datasets.source import builtin_sources
from training.saved_model import SUFFIX, recipe_source


@contextmanager
def recipe_path(recipe: str, data: str | None, *, is_cloud: bool) -> Iterator[str]:
    """The recipe as it is; for a saved model the path of a recipe file that holds it, gone afterwards.

    Args:
        data: `--data`: a built-in data set, a folder, or with `is_cloud` the name of one that was pushed.
    Raises:
        InvalidSetting: `--data` is missing, or given for something else than a model.
        RecipeFailed: the file is no compiled Keras model.
    """
    if not recipe.endswith(SUFFIX):
        if data is not None:
            raise InvalidSetting("--data", repr(data), f"nothing: only a {SUFFIX} model does not know its data set")
        yield recipe
        return
    if data is None:
        raise InvalidSetting("--data", "not given", "the data set that the model is to be trained on")
    dataset, folder = which_data(data, is_cloud=is_cloud)
    name = name_of(Path(recipe))
    source = recipe_source(Path(recipe), name, dataset, folder)
    with tempfile.TemporaryDirectory(prefix="lambdafit-") as written:
        path = Path(written) / f"{name}.py"
        path.write_text(source, encoding="utf-8")
        yield str(path)


def which_data(data: str, *, is_cloud: bool) -> tuple[str, str]:
    """What `--data` means: a data set's name, and its folder if it lies on this machine.

    Raises:
        InvalidSetting: it is nothing of this kind.
    """
    if data in builtin_sources():
        return data, ""
    path = Path(data)
    if path.exists():
        name = name_of(path.absolute())
        folder_source(path, name)
        return name, str(path.absolute())
    if is_cloud:
        return check_name(data), ""
    expected = f"one of {', '.join(builtin_sources())}, or a folder of .npy files"
    raise InvalidSetting("--data", f"there is no {data!r}", expected)


def name_of(path: Path) -> str:
    """A file or folder's name as a recipe or data set may be called."""
    return re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "model"
