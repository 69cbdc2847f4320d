"""`train` and `runs resume` in a stack: everything brought there, the functions woken, then the run is followed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import click

from cli.console import is_interactive, messages
from cli.failure import echo_error
from cli.flags import Flags, print_json
from cli.home_access import current_home
from cli.model_recipe import recipe_path, which_data
from cli.stack_access import StackRuns, open_engine
from cli.train_run import parse_overrides, request
from cli.transfer_bar import TransferBar
from cli.watch_run import follow_run
from contracts.errors import LambdafitError
from engines.aws import AwsEngine
from engines.aws_stack import datasets
from engines.aws_stack.prepare_process import Wanted
from runs import recipes, start, weights
from runs.describe_recipe import DataPlaces
from training.datasets.source import builtin_sources, source_named
from training.recipe import load_recipe


def train_in_stack(options: Mapping[str, Any], flags: Flags, *, detach: bool) -> int:
    """Check everything, bring what the stack has not, start the run, follow it. Bad input is refused before that.

    Args:
        options: of `lambdafit train`, by name; None where not given.
    Returns:
        the exit code.
    """
    with recipe_path(options["recipe"], options["data"], is_cloud=True) as path:
        return _train({**options, "recipe": path}, flags, detach=detach)


def _train(options: Mapping[str, Any], flags: Flags, *, detach: bool) -> int:
    asked, is_dry = request(options), bool(options["dry_run"])
    wanted = weights.describe(
        options["recipe"], parse_overrides(options["overrides"]), data_places(), is_dry=is_dry, checks_data=False
    )
    recipe = wanted.summary
    engine = open_engine(flags.place)
    settings = start.complete_settings(asked, recipe, engine.limits())
    start.check_budget(settings)
    engine.check_libraries()
    if is_dry:
        from cli.dry_run import show_estimate

        notes = start.warnings(settings, recipe)
        return show_estimate(options["recipe"], settings, notes, StackRuns(engine), data_places(), flags)
    weights.check(options["recipe"], wanted, engine.has_object)
    with TransferBar(flags) as bar:
        data = _bring_data(engine, options["recipe"], options["data"], bar)
        if recipes.is_own(options["recipe"]):
            engine.keep_recipe(options["recipe"], recipe)
        engine.keep_weights(wanted, bar.begin)
    wake(engine, flags)
    run_id = engine.start(asked, recipe, wanted.overrides, data.folder)
    for warning in start.warnings(settings, recipe):
        echo_error(f"Note: {warning}")
    return _follow(engine, run_id, flags, detach=detach)


def resume_run_in_stack(name: str, changes: Mapping[str, Any], flags: Flags, *, detach: bool) -> int:
    """Let a run go on, and follow it.

    Returns:
        the exit code.
    """
    engine = open_engine(flags.place)
    run_id = StackRuns(engine).find(name).run_id
    wake(engine, flags)
    engine.resume(run_id, {option: value for option, value in changes.items() if value is not None})
    return _follow(engine, run_id, flags, detach=detach, since=time.time())


def wake(engine: AwsEngine, flags: Flags) -> None:
    """See `AwsEngine.wake`; with a line for each function that is not there yet."""
    told: set[str] = set()
    lock = threading.Lock()

    def tell(function: str, error: LambdafitError) -> None:
        with lock:
            if function not in told and not flags.quiet:
                told.add(function)
                echo_error(f"Waiting for the function {function}: {error.message.splitlines()[0]}")

    with waking(flags):
        engine.wake(tell)


def waking(flags: Flags) -> AbstractContextManager[object]:
    """A sign of life: network interfaces take a minute or two to come back."""
    console = messages()
    if flags.quiet or not is_interactive(console):
        return nullcontext()
    return console.status("waking the stack's functions")


def data_places() -> DataPlaces:
    """Where data sets are looked for on this machine, and where downloaded ones go."""
    return DataPlaces(os.environ.get("LAMBDAFIT_DATA", ""), str(current_home().environment().download_folder))


def _bring_data(engine: AwsEngine, recipe: str, data: str | None, bar: TransferBar) -> datasets.StoredDataset:
    """Have the recipe's data set in the bucket; one that was pushed under its name is there already."""
    if data is not None and not all(which_data(data, is_cloud=True)) and data not in builtin_sources():
        return datasets.find(engine.bucket, data)
    # Finding a built-in data set runs nobody's code.
    known = None if recipes.is_own(recipe) else source_named(load_recipe(recipe).dataset)
    return datasets.bring(engine.bucket, Wanted(recipe=recipe), known, data_places(), bar.begin)


def _follow(engine: AwsEngine, run_id: str, flags: Flags, *, detach: bool, since: float = 0.0) -> int:
    if not detach:
        return follow_run(StackRuns(engine), run_id, flags, since)
    if flags.json_keys is not None:
        print_json(dict.fromkeys(flags.json_keys) | {"run_id": run_id, "status": "RUNNING"})
        return 0
    click.echo(run_id)
    place = flags.place.suffix
    echo_error(f"It trains in {engine.stack.place}.")
    echo_error(f"  lambdafit watch {run_id}{place}\n  lambdafit runs stop {run_id}{place}")
    return 0
