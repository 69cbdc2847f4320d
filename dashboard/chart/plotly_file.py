"""plotly.js, copied from the installed package to where Streamlit serves it, so that no chart needs the network."""

from __future__ import annotations

import filecmp
import os
import shutil
import tempfile
from functools import cache
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path

from contracts.errors import HomeNotWritable

FILE_NAME = "plotly.min.js"
STATIC_FOLDER = Path(__file__).resolve().parents[1] / "static"
LONG_AGO_S = 946_684_800.0
"""2000-01-01. Streamlit sends no caching header, and browsers then keep a file for a tenth of its age: this one, whose
address names its version, for years."""


@cache
def plotly_version() -> str:
    """Of the installed package."""
    return version("plotly")


def place_plotly(folder: Path = STATIC_FOLDER) -> Path:
    """Sees to it that `folder` holds the installed plotly.js; many processes may do so at once.

    Returns:
        The file.

    Raises:
        HomeNotWritable: the folder cannot be made or written.
    """
    target = folder / FILE_NAME
    with as_file(files("plotly") / "package_data" / FILE_NAME) as source:
        if target.is_file() and filecmp.cmp(source, target, shallow=False):
            return target
        try:
            _copy(source, target)
        except OSError as error:
            raise HomeNotWritable(
                str(target),
                str(error.strerror or error),
                "a file that the dashboard can write, to draw its charts with",
                advice="Make the folder writable, or put the file of the installed plotly package there.",
            ) from error
    return target


def _copy(source: Path, target: Path) -> None:
    """Under another name first, so that nobody is ever served half a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{FILE_NAME}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as copy, source.open("rb") as original:
            shutil.copyfileobj(original, copy, 1 << 20)
        temporary.chmod(0o644)
        os.utime(temporary, (LONG_AGO_S, LONG_AGO_S))
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
