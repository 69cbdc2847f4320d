"""`runs stop`."""

from __future__ import annotations

from cli.console import output
from cli.flags import Flags
from cli.runs_place import open_runs
from runs.control import cancel
from runs.words import ending


def stop_run(name: str, flags: Flags) -> None:
    """Stop a run, whoever conducts it: a process sees it in the store within a second, a stack in its stream."""
    place = open_runs(flags)
    run = place.find(name)
    console = output()
    if run.ended:
        console.print(f"{run.run_id} had ended before: {ending(run)}.")
        return
    stopped = cancel(place.services(), run.run_id)
    if stopped.status == "CANCELLED":
        resume = f"lambdafit runs resume {run.run_id}{flags.place.suffix}"
        console.print(f"{run.run_id} is stopped. `{resume}` goes on from its checkpoint.")
    else:
        console.print(f"{run.run_id} ended just now: {ending(stopped)}.")
