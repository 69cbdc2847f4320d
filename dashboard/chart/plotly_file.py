"""plotly.js and the script that draws with it, where Streamlit serves them, so that no chart needs the network."""

from __future__ import annotations

import filecmp
import os
import shutil
import tempfile
from functools import cache
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path

import xxhash

from contracts.errors import HomeNotWritable

FILE_NAME = "plotly.min.js"
CHART_SCRIPT = Path(__file__).with_name("plotly_chart.js")
STATIC_FOLDER = Path(__file__).resolve().parents[1] / "static"
LONG_AGO_S = 946_684_800.0
"""2000-01-01. Streamlit sends no caching header, and browsers then keep a file for a tenth of its age: these two, whose
addresses name their versions, for years. Chromium also keeps plotly.js compiled then: 60 instead of 1,000 ms."""


@cache
def plotly_version() -> str:
    """Of the installed package."""
    return version("plotly")


@cache
def chart_script_version() -> str:
    """Of the script that draws."""
    return xxhash.xxh3_64(CHART_SCRIPT.read_bytes()).hexdigest()


def place_plotly(folder: Path = STATIC_FOLDER) -> Path:
    """Sees to it that `folder` holds the installed plotly.js and the script; many processes may do so at once.

    Returns:
        The file of plotly.js.

    Raises:
        HomeNotWritable: the folder cannot be made or written.
    """
    _place(CHART_SCRIPT, folder / CHART_SCRIPT.name)
    with as_file(files("plotly") / "package_data" / FILE_NAME) as source:
        return _place(source, folder / FILE_NAME)


def _place(source: Path, target: Path) -> Path:
    if target.is_file() and filecmp.cmp(source, target, shallow=False):
        return target
    try:
        _copy(source, target)
    except OSError as error:
        raise HomeNotWritable(
            str(target),
            str(error.strerror or error),
            "a file that the dashboard can write, to draw its charts with",
            advice=f"Make the folder writable, or put a copy of {source} there.",
        ) from error
    return target


def _copy(source: Path, target: Path) -> None:
    """Under another name first, so that nobody is ever served half a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
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
