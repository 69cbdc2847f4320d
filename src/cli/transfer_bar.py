"""What is being uploaded or downloaded: a bar on a terminal, a line elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from cli.console import is_interactive, messages
from cli.flags import Flags

LINE_BYTES = 1_000_000
"""Smaller things are not worth a line."""


class TransferBar:
    """Shows transfers while the body of its `with` runs."""

    def __init__(self, flags: Flags) -> None:
        console = messages()
        self._quiet = flags.quiet
        self._console = console
        self._lock = threading.Lock()
        self._bar: Progress | None = None
        if is_interactive(console) and not flags.quiet:
            columns = (TextColumn("{task.description}"), BarColumn(24), DownloadColumn(), TransferSpeedColumn(),
                       TimeRemainingColumn())  # fmt: skip
            self._bar = Progress(*columns, console=console, transient=True)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, what: str, length: int) -> Callable[[int], None]:
        """Announce a transfer.

        Returns:
            what is told of its bytes as they move, from any thread.
        """
        if self._bar is None:
            if not self._quiet and length >= LINE_BYTES:
                self._console.print(f"Transferring {what}, {length / 1e6:.1f} MB")
            return lambda _bytes: None
        bar, task = self._bar, self._bar.add_task(what, total=length)

        def advance(count: int) -> None:
            with self._lock:
                bar.advance(task, count)

        return advance
