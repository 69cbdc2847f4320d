"""`train --dry-run`: what a run will take and cost. Nothing is written."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cli import screens
from cli.console import output
from cli.cost_screen import as_data, assumptions, lines_table, machines_table
from cli.failure import echo_error
from cli.flags import Flags, print_json
from cli.runs_place import Runs
from contracts.settings import RunSettings
from runs import words
from runs.describe_recipe import DataPlaces
from runs.estimate import Estimate, assumed_step_time, estimate, measured_sizes, measured_step_time
from runs.planned_sizes import built_sizes, like_before
from runs.sizes import Sizes, StepTime
from runs.summary import load

LOOKED_AT = 200
"""So many of the newest runs are searched for one of the same model."""


def show_estimate(
    recipe: str, settings: RunSettings, notes: Sequence[str], place: Runs, places: DataPlaces, flags: Flags
) -> int:
    """Print what a run of these settings will take.

    Args:
        recipe: a built-in name, or the path of a user's file.
        notes: what the user should know of the settings.
        place: where earlier runs of the same recipe tell how long a step takes.
        places: where its data set may lie.
    Returns:
        the exit code.
    """
    sizes, step = _known(recipe, settings, place, places)
    found = estimate(settings, sizes, step, region=flags.place.price_region, laptop_cores=os.cpu_count() or 1)
    for note in (*notes, *found.notes):
        echo_error(f"Note: {note}")
    if flags.json_keys is not None:
        print_json({"run_id": None, **as_data(found), "error": None})
        return 0
    output().print(Group(*_parts(found)))
    return 0


def _known(recipe: str, settings: RunSettings, place: Runs, places: DataPlaces) -> tuple[Sizes, StepTime]:
    """Sizes and a step's time, from an earlier run if there is one."""
    sizes: Sizes | None = None
    for run in like_before(settings, place.runs(LOOKED_AT)):
        history = load(place.store, place.telemetry, run.run_id)
        sizes = sizes or measured_sizes(history)
        step = measured_step_time(history, settings) if sizes else None
        if sizes and step:
            return sizes, step
    sizes = sizes or built_sizes(recipe, settings, places)
    return sizes, assumed_step_time(sizes, settings)


def _parts(found: Estimate) -> list[RenderableType]:
    head = Text.assemble(
        (found.recipe, "bold"), f"  about {words.usd(found.total_usd)} and {words.duration(found.duration_s)} on AWS"
    )
    covers = "covers it" if found.within_budget else "does not cover it"
    budget = (
        f"{words.usd(found.budget_usd)} count towards the budget of {words.usd(found.max_cost_usd)}, which {covers}"
    )
    return [
        head,
        Text(f"{budget}; nothing was started", style="dim"),
        Text(f"{found.prices}; {found.architecture}", style="dim"),
        "",
        _figures(found),
        "",
        lines_table(found.lines),
        "",
        machines_table(found.machines),
        "",
        assumptions(found.assumptions),
    ]


def _figures(found: Estimate) -> RenderableType:
    pairs = [
        ("workers", f"{found.workers:,} with batch {found.batch_size:,}"),
        ("rounds", f"{found.rounds:,}"),
        ("steps of a worker", f"{found.steps_per_worker:,}"),
        ("parameters", f"{found.parameters:,} in {words.count(found.slices, 'slice')}; {found.sizes_source}"),
        ("a step", f"{found.step_s * 1000:.3g} ms; {found.step_source}"),
        ("invocations", f"{found.invocations:,}"),
        ("GB-seconds", f"{found.gb_s:,.0f}"),
        ("EFS", f"{found.efs_read_bytes / 1e9:.3g} GB read, {found.efs_written_bytes / 1e9:.3g} GB written"),
        ("held back at once", words.usd(found.held_back_usd)),
        ("on this machine", f"about {words.duration(found.laptop_s)}"),
    ]
    grid = Table.grid(padding=(0, 2))
    for name, value in pairs:
        grid.add_row(Text(name, style="dim"), Text(value))
    return Padding(grid, screens.INDENT, expand=False)
