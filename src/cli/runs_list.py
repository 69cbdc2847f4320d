"""`runs list`: the table of runs."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import datetime

from rich.table import Table
from rich.text import Text

from cli.console import make_table, output
from cli.flags import Flags, print_json
from cli.runs_place import NO_RUNS, open_runs
from contracts.records import Run
from runs import words

COLUMNS = ("run", "recipe", "state", "workers", "rounds", "loss", "accuracy", "cost", "started")
LEFT_OUT = ((70, ("recipe", "started")), (92, ("rounds", "loss")), (115, ("workers", "cost")))
"""Below so many characters these columns are left out: a run's id is never cut."""


def show_list(limit: int, flags: Flags, *, as_json: bool) -> None:
    """Print the newest runs."""
    place = open_runs(flags)
    runs = place.runs(limit)
    conducted = place.conducted(runs)
    if as_json:
        print_json({"runs": [entry(run, run.run_id in conducted) for run in runs]})
    elif runs:
        console = output()
        console.print(table(runs, conducted, console.width))
    else:
        output().print(NO_RUNS)


def entry(run: Run, conducted: bool) -> dict[str, object]:
    """One run as JSON."""
    return {
        "run_id": run.run_id,
        "recipe": words.recipe(run),
        "status": run.status,
        "state": words.status(run, conducted),
        "reason": run.reason or None,
        "workers": run.settings.workers,
        "rounds": max(0, run.round_index - 1),
        "total_rounds": run.plan.total_rounds if run.plan else None,
        "train_loss": run.train_loss,
        "val_accuracy": accuracy(run, "val"),
        "test_accuracy": accuracy(run, "test"),
        "cost_usd": round(run.spent_usd, 8),
        "created_at": run.created_at,
    }


def accuracy(run: Run, split: str) -> float | None:
    """Of the validation or test set, as last known."""
    value = run.results.get(f"{split}_accuracy", run.validation.get(f"{split}/accuracy"))
    return None if value is None else float(value)


def table(runs: list[Run], conducted: Collection[str], width: int) -> Table:
    """One line a run.

    Args:
        conducted: the ids of those that are being worked at.
    """
    left_out = {name for limit, names in LEFT_OUT if width < limit for name in names}
    columns = [name for name in COLUMNS if name not in left_out]
    made = make_table(*columns, numbers=("workers", "rounds", "loss", "accuracy", "cost", "started"))
    now = time.time()
    for run in runs:
        state = words.status(run, run.run_id in conducted)
        done = max(0, run.round_index - 1)
        test = accuracy(run, "test")
        cells: dict[str, str | Text] = {
            "run": run.run_id,
            "recipe": words.recipe(run),
            "state": Text(state, words.STATUS_STYLES.get(state, "")),
            "workers": str(run.settings.workers),
            "rounds": f"{done} of {run.plan.total_rounds}" if run.plan else "–",
            "loss": words.maybe(run.train_loss),
            "accuracy": words.maybe(accuracy(run, "val") if test is None else test),
            "cost": words.usd(run.spent_usd),
            "started": when(run.created_at, now),
        }
        made.add_row(*(cells[name] for name in columns))
    return made


def when(moment: float, now: float) -> str:
    """How long ago, or the day."""
    ago = now - moment
    if ago < 60:
        return "just now"
    if ago < 3600:
        return f"{ago / 60:.0f} min ago"
    if ago < 86400:
        return f"{ago / 3600:.0f} h ago"
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d")
