"""`runs stop`."""

from __future__ import annotations

from cli.console import output
from cli.home_access import open_runs
from cli.words import ending
from handlers.wiring import NoInvoker, SystemClock, SystemRandomness
from runs.control import cancel
from runs.services import Services


def stop_run(name: str) -> None:
    """Stop a run, whichever process conducts it: that one sees it in the store within a second."""
    folder = open_runs()
    run = folder.find(name)
    console = output()
    if run.ended:
        console.print(f"{run.run_id} had ended before: {ending(run)}.")
        return
    services = Services(folder.store, folder.store, folder.files, NoInvoker(), SystemClock(), SystemRandomness())
    stopped = cancel(services, run.run_id)
    if stopped.status == "CANCELLED":
        console.print(f"{run.run_id} is stopped. `lambdafit runs resume {run.run_id}` goes on from its checkpoint.")
    else:
        console.print(f"{run.run_id} ended just now: {ending(stopped)}.")
