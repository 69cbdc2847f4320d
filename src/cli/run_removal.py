"""`runs rm`: a run with its files, its logs and its records."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cli.console import output
from cli.flags import Flags
from cli.runs_place import Runs, open_runs
from contracts.errors import RunNotFound
from contracts.identifiers import RUN_ID
from contracts.stack_errors import RunOfOtherStack
from runs.words import count, recipe, status


def remove_runs(names: Sequence[str], flags: Flags, *, all_finished: bool, ask: bool) -> int:
    """Remove runs, after asking. What an earlier removal has left over goes as well.

    Returns:
        the exit code.
    """
    place = open_runs(flags)
    run_ids = list(dict.fromkeys(_run_id(place, name) for name in names))
    if all_finished:
        run_ids += [run.run_id for run in place.runs() if run.status == "FINISHED" and run.run_id not in run_ids]
    console = output()
    if not run_ids:
        console.print("No run has finished: nothing to remove.")
        return 0
    place.check_at_rest(run_ids)
    if ask:
        for run_id in run_ids:
            console.print(f"  {_described(place, run_id)}")
        click.confirm(f"Remove {count(len(run_ids), 'run')} with files and logs, for good?", abort=True)
    for run_id in run_ids:
        # Records last: a removal that is cut short is seen in the list, and can be done again.
        place.remove(run_id)
        console.print(f"Removed {run_id}.")
    return 0


def _run_id(place: Runs, name: str) -> str:
    """The run's id; also of one whose records are gone but whose files are not."""
    try:
        return place.find(name).run_id
    except (RunNotFound, RunOfOtherStack):
        if RUN_ID.fullmatch(name) and place.has_left_over(name):
            return name
        raise


def _described(place: Runs, run_id: str) -> str:
    try:
        run = place.find(run_id)
    except (RunNotFound, RunOfOtherStack):
        return f"{run_id}  what is left over of it"
    return f"{run_id}  {recipe(run)}, {status(run, conducted=False)}"
