"""Conducts a run in this process: the engine, the display, the last screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.display import Display, choose_view
from cli.failure import as_record
from cli.final_screen import show_broken_off, show_end
from cli.flags import Flags
from cli.follow import Follower
from contracts.errors import ErrorRecord, LambdafitError
from contracts.records import Run

if TYPE_CHECKING:
    from engines.local import LocalEngine


def conduct(engine: LocalEngine, run_id: str, flags: Flags, *, since: float = 0.0) -> int:
    """Bring a run to its end, or to where an interruption leaves it, and say how it ended.

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
    with engine, Display(follower, choose_view(flags)):
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


def _watch_nothing(run: Run) -> None:
    """The display reads the store by itself."""
