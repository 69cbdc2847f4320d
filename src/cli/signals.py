"""Ctrl-C and SIGTERM while a run is conducted."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from cli.failure import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from engines.local import LocalEngine

STOPPING = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = "\033[?25h"


@contextmanager
def interruptible(engine: LocalEngine) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the conducting in good order; the second one ends this process at once."""
    seen: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if seen:
            _leave_at_once()
        seen.append(number)
        engine.interrupt()

    before = {number: signal.signal(number, stop) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_at_once() -> None:
    """The functions die with this process; the run store and the files stand any end."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), SHOW_CURSOR.encode())
    os._exit(EXIT_INTERRUPTED)


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that the terminal is left in good order."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
