"""Conducts a run in this process: the engine, the signals, the display, the last screen."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from cli.console import messages
from cli.display import Display, choose_view
from cli.failure import EXIT_INTERRUPTED, as_record
from cli.final_screen import show_broken_off, show_end
from cli.flags import Flags
from cli.follow import Follower
from contracts.errors import ErrorRecord, LambdafitError
from contracts.records import Run

if TYPE_CHECKING:
    from engines.local import LocalEngine

STOPPING = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = "\033[?25h"


def conduct(engine: LocalEngine, run_id: str, flags: Flags, *, since: float = 0.0) -> int:
    """Bring a run to its end, or to where Ctrl-C leaves it, and say how it ended.

    The engine is stopped when this returns.

    Args:
        since: when the run was resumed, in seconds since 1970.
    Returns:
        the exit code.
    """
    services = engine.services
    follower = Follower(services.store, services.telemetry, run_id, services.clock.now, since)
    broken_off: ErrorRecord | None = None
    run: Run | None = None
    with engine, interruptible(engine), Display(follower, choose_view(flags)):
        try:
            run = engine.conduct(run_id, _watch_nothing)
        except (LambdafitError, OSError) as error:
            broken_off = as_record(error)
            if broken_off is None or flags.debug:
                raise
        engine.stop()
    if broken_off is not None:
        return show_broken_off(services.store, services.telemetry, run_id, flags, broken_off)
    interrupted = run is not None and not run.ended
    return show_end(services.store, services.telemetry, run_id, flags, interrupted=interrupted)


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
    if messages().is_terminal:
        os.write(sys.stderr.fileno(), SHOW_CURSOR.encode())
    os._exit(EXIT_INTERRUPTED)


def _watch_nothing(run: Run) -> None:
    """The display reads the store by itself."""
