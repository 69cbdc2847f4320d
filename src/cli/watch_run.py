"""`watch`: the display of a run that somebody else conducts: another process, or a stack."""

from __future__ import annotations

import time

from cli.display import choose_view
from cli.failure import EXIT_INTERRUPTED, echo_error
from cli.final_screen import show_end
from cli.flags import Flags, print_json
from cli.follow import Follower
from cli.result import answer
from cli.runs_place import Runs, open_runs
from cli.signals import stoppable
from contracts.errors import LambdafitError
from runs.summary import load, summarise

INTERVAL_S = 0.5
GRACE_S = 3.0
"""How long a run may be without an engine before it counts as interrupted: a resume has to take the lock first."""

PATIENCE_S = 120.0
"""How long a store may not answer: the run goes on without us."""


def watch_run(name: str, flags: Flags) -> int:
    """Follow a run to its end.

    Returns:
        the exit code, as `train` would have ended.
    """
    place = open_runs(flags)
    return follow_run(place, place.find(name).run_id, flags)


def follow_run(place: Runs, run_id: str, flags: Flags, since: float = 0.0) -> int:
    """Show a run until it ends, and how it ended. Ctrl-C ends the showing, not the run: it was never ours to end.

    Args:
        since: when it was resumed, in seconds since 1970.
    Returns:
        the exit code: 130 where it was not seen to its end.
    """
    try:
        with stoppable():
            interrupted = _follow(place, run_id, flags, since)
    except KeyboardInterrupt:
        stop = f"lambdafit runs stop {run_id}{flags.place.suffix}"
        echo_error(f"No longer watching; {run_id} goes on. `{stop}` ends it.")
        if flags.json_keys is not None:
            print_json(answer(summarise(load(place.store, place.telemetry, run_id), time.time())))
        return EXIT_INTERRUPTED
    return show_end(place.store, place.telemetry, run_id, flags, interrupted=interrupted)


def _follow(place: Runs, run_id: str, flags: Flags, since: float) -> bool:
    """Show the run until it ends, or until nobody conducts it any more. Returns whether it is the latter."""
    follower = Follower(place.store, place.telemetry, run_id, time.time, since)
    view = choose_view(flags)
    alone_since = 0.0
    lost_since: float | None = None
    began = False
    try:
        while True:
            try:
                snapshot = follower.look()
            except LambdafitError as error:
                lost_since = time.monotonic() if lost_since is None else lost_since
                if not error.retryable or time.monotonic() - lost_since >= PATIENCE_S:
                    raise
                time.sleep(max(INTERVAL_S, place.follow_s))
                continue
            lost_since = None
            if snapshot.run.ended:
                return False
            if not began:
                view.begin()
                began = True
            view.update(snapshot)
            if place.conducted([snapshot.run]):
                alone_since = 0.0
            else:
                alone_since = alone_since or time.monotonic()
                if time.monotonic() - alone_since >= GRACE_S:
                    return True
            time.sleep(max(INTERVAL_S, place.follow_s))
    finally:
        if began:
            view.end()
