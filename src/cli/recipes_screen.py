"""`recipes`: the built-in ones."""

from __future__ import annotations

from cli.console import make_table, output
from cli.flags import print_json
from runs.recipe_summary import RecipeSummary
from runs.recipes import describe
from training.recipe import builtin_names


def show_recipes(*, as_json: bool) -> None:
    """Print the built-in recipes with their defaults and their own settings."""
    summaries = [describe(name, {}) for name in builtin_names()]
    if as_json:
        print_json({"recipes": [entry(summary) for summary in summaries]})
        return
    console = output()
    table = make_table("recipe", "data set", "epochs", "batch", "what it is", numbers=("epochs", "batch"))
    for summary in summaries:
        table.add_row(summary.name, summary.dataset, str(summary.epochs), str(summary.batch_size), summary.title)
    console.print(table)
    console.print()
    own = make_table("recipe", "own settings: --set KEY=VALUE")
    for summary in summaries:
        own.add_row(summary.name, "  ".join(f"{name}={_shown(value)}" for name, value in summary.settings.items()))
    console.print(own)
    console.print("\nA recipe of your own: lambdafit train path/to/my_recipe.py")


def _shown(value: object) -> str:
    """A value as it may be written behind `--set`."""
    return ("off", "on")[value] if isinstance(value, bool) else str(value)


def entry(summary: RecipeSummary) -> dict[str, object]:
    """One recipe as JSON."""
    return {
        "name": summary.name,
        "title": summary.title,
        "dataset": summary.dataset,
        "epochs": summary.epochs,
        "batch_size": summary.batch_size,
        "settings": summary.settings,
    }
