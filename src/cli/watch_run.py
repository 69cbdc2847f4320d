"""`watch`: the display of a run that another process conducts."""

from __future__ import annotations

import time

from cli.display import choose_view
from cli.failure import EXIT_INTERRUPTED, echo_error
from cli.final_screen import show_end
from cli.flags import Flags
from cli.follow import Follower
from cli.home_access import RunFolder, open_runs

INTERVAL_S = 0.5
GRACE_S = 3.0
"""How long a run may be without an engine before it counts as interrupted: a resume has to take the lock first."""


def watch_run(name: str, flags: Flags) -> int:
    """Follow a run to its end.

    Returns:
        the exit code, as `train` would have ended.
    """
    folder = open_runs()
    run_id = folder.find(name).run_id
    try:
        interrupted = _follow(folder, run_id, flags)
    except KeyboardInterrupt:
        echo_error(f"No longer watching; {run_id} goes on. `lambdafit runs stop {run_id}` ends it.")
        return EXIT_INTERRUPTED
    return show_end(folder.store, folder.store, run_id, flags, interrupted=interrupted)


def _follow(folder: RunFolder, run_id: str, flags: Flags) -> bool:
    """Show the run until it ends, or until nobody conducts it any more. Returns whether it is the latter."""
    follower = Follower(folder.store, folder.store, run_id, time.time)
    view = choose_view(flags)
    alone_since = 0.0
    began = False
    try:
        while True:
            snapshot = follower.look()
            if snapshot.run.ended:
                return False
            if not began:
                view.begin()
                began = True
            view.update(snapshot)
            if folder.is_conducted(run_id):
                alone_since = 0.0
            else:
                alone_since = alone_since or time.monotonic()
                if time.monotonic() - alone_since >= GRACE_S:
                    return True
            time.sleep(INTERVAL_S)
    finally:
        if began:
            view.end()
