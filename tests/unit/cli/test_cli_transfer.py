"""The bar of what is uploaded or downloaded."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.console import Console

from cli.flags import Flags
from cli.transfer_bar import TransferBar


def shown(monkeypatch: pytest.MonkeyPatch, flags: Flags, *, terminal: bool, length: int = 5_000_000) -> str:
    """What a transfer from four threads leaves on the standard error."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, color_system=None)
    monkeypatch.setattr("cli.transfer_bar.messages", lambda: console)
    with TransferBar(flags) as bar, ThreadPoolExecutor(4) as threads:
        progress = bar.begin("data set leaves", length)
        list(threads.map(progress, [length // 4] * 4))
        if bar._bar is not None:
            bar._bar.refresh()
            (task,) = bar._bar.tasks
            assert task.completed == length
    return text.getvalue()


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "data set leaves" in shown(monkeypatch, Flags(), terminal=True)
    assert "5.0/5.0 MB" in shown(monkeypatch, Flags(), terminal=True)


def test_elsewhere_it_is_one_line_and_only_of_what_takes_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, Flags(), terminal=False) == "Transferring data set leaves, 5.0 MB\n"
    assert shown(monkeypatch, Flags(), terminal=False, length=1_000) == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_shows_nothing(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    assert shown(monkeypatch, Flags(quiet=True), terminal=terminal) == ""
