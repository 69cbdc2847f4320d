"""Where text goes: answers to the standard output, everything else to the standard error."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table

UNLIMITED_WIDTH = 400
"""Columns where nobody looks: what a program reads is not to be folded or cut."""


def output() -> Console:
    """The console of answers."""
    return _console(sys.stdout)


def messages() -> Console:
    """The console of progress, warnings and hints."""
    return _console(sys.stderr)


def is_interactive(console: Console) -> bool:
    """Whether it is a terminal that can redraw itself."""
    return console.is_terminal and not console.is_dumb_terminal


def make_table(*columns: str, numbers: tuple[str, ...] = (), title: str = "") -> Table:
    """A table without lines but one below its head.

    Args:
        numbers: the columns that are set flush right.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        title=title or None,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        show_edge=False,
    )
    table.header_style = "dim"
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=True, overflow="ellipsis")
    return table


def _console(file: TextIO) -> Console:
    options: dict[str, Any] = {"file": file, "highlight": False, "soft_wrap": False, "emoji": False, "markup": False}
    if not file.isatty():
        options["width"] = UNLIMITED_WIDTH
    return Console(**options)
