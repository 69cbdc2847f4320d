"""`runs rm`: a run with its files, its logs and its records."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import click

from cli.console import output
from cli.home_access import RunFolder, conducts, open_runs
from cli.words import count, recipe, status
from contracts.errors import HomeInUse, RunNotFound
from contracts.identifiers import RUN_ID
from runs.paths import run_folder


def remove_runs(names: Sequence[str], *, all_finished: bool, ask: bool) -> int:
    """Remove runs, after asking. What an earlier removal has left over goes as well.

    Returns:
        the exit code.
    """
    folder = open_runs()
    run_ids = list(dict.fromkeys(_run_id(folder, name) for name in names))
    if all_finished:
        run_ids += [run.run_id for run in folder.runs() if run.status == "FINISHED" and run.run_id not in run_ids]
    console = output()
    if not run_ids:
        console.print("No run has finished: nothing to remove.")
        return 0
    conductor = folder.conductor()
    busy = [run_id for run_id in run_ids if conducts(conductor, run_id)]
    if busy:
        advice = f"Stop it first: lambdafit runs stop {busy[0]}"
        raise HomeInUse(f"run {busy[0]}", f"it is being trained by {conductor}", "one at rest", advice=advice)
    if ask:
        for run_id in run_ids:
            console.print(f"  {_described(folder, run_id)}")
        click.confirm(f"Remove {count(len(run_ids), 'run')} with files and logs, for good?", abort=True)
    for run_id in run_ids:
        # Records last: a removal that is cut short is seen in the list, and can be done again.
        folder.files.remove(run_folder(run_id))
        shutil.rmtree(folder.home.log_folder(run_id), ignore_errors=True)
        if folder.exists:
            folder.store.delete_run(run_id)
        console.print(f"Removed {run_id}.")
    return 0


def _run_id(folder: RunFolder, name: str) -> str:
    """The run's id; also of one whose records are gone but whose files are not."""
    try:
        return folder.find(name).run_id
    except RunNotFound:
        left_over = RUN_ID.fullmatch(name) and (
            folder.files.exists(run_folder(name)) or folder.home.log_folder(name).exists()
        )
        if left_over:
            return name
        raise


def _described(folder: RunFolder, run_id: str) -> str:
    try:
        run = folder.store.load_run(run_id) if folder.exists else None
    except RunNotFound:
        run = None
    if run is None:
        return f"{run_id}  what is left over of it"
    return f"{run_id}  {recipe(run)}, {status(run, conducted=False)}"
