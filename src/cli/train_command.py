"""`lambdafit train`: its options."""

from __future__ import annotations

from typing import Any

import click

from cli.flags import RUN_ANSWER_KEYS, Command, Flags, json_option, option
from cli.place import place_options

EXAMPLE = """\
lambdafit train digits-mlp --workers 4
lambdafit train my_recipe.py --epochs 5 --set learning_rate=0.1 --max-cost-usd 0.50 --json
lambdafit train fashion-mnist-mlp --workers 16 --engine aws --stack-name lambdafit
lambdafit train my_model.keras --data my_arrays/"""

SYNC = click.Choice(("local", "gradients"))
UPDATE_DTYPE = click.Choice(("float32", "bfloat16"))
OUTER = click.Choice(("sgd", "momentum", "nesterov", "adam"))
MODEL, METHOD, STOPS, ENGINE = "What is trained", "How workers go together", "When it stops", "How it runs"


@click.command(cls=Command, example=EXAMPLE, short_help="Train a recipe with several workers.")
@click.argument("recipe")
@option(MODEL, "--data", metavar="NAME|FOLDER", help="Of a .keras model: a data set, or a folder of .npy files.")
@option(MODEL, "--epochs", type=int, metavar="N", help="Passes over the data.  [default: the recipe's]")
@option(MODEL, "--rounds", type=int, metavar="N", help="Rounds, in place of --epochs.")
@option(MODEL, "--batch-size", type=int, metavar="N", help="Of one worker's step.  [default: the recipe's / workers]")
@option(MODEL, "--seed", type=int, metavar="N", default=0, show_default=True, help="Same seed, same parameters.")
@option(MODEL, "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A setting of the recipe; repeatable.")
@option(METHOD, "--workers", type=int, metavar="N", default=4, show_default=True, help="Functions that train.")
@option(METHOD, "--steps-per-round", type=int, metavar="N", help="Of each worker.  [default: about 1/12 epoch]")
@option(
    METHOD,
    "--sync",
    type=SYNC,
    metavar="HOW",
    help="gradients, or local: alone for a round.  [default: local]",
)
@option(
    METHOD,
    "--update-dtype",
    type=UPDATE_DTYPE,
    metavar="TYPE",
    help="Workers' updates: float32, or bfloat16: half the bytes.  [default: float32]",
)
@option(METHOD, "--outer", type=OUTER, metavar="KIND", help="sgd, momentum, nesterov or adam.  [default: nesterov]")
@option(METHOD, "--outer-learning-rate", type=float, metavar="X", help="Of --outer, which steps on the workers' mean.")
@option(METHOD, "--outer-momentum", type=float, metavar="X", help="Of --outer: 0 or more, below 1.")
@option(METHOD, "--validate-every-rounds", type=int, metavar="N", help="How often.  [default: once an epoch]")
@option(STOPS, "--target-accuracy", type=float, metavar="X", help="At this validation accuracy.")
@option(STOPS, "--patience", type=int, metavar="N", help="After so many validations without a better one.")
@option(STOPS, "--max-cost-usd", type=float, metavar="X", help="Before it would cost more on Lambda.  [default: 10]")
@option(STOPS, "--deadline-s", type=float, metavar="X", help="After so many seconds.  [default: 86400]")
@option(ENGINE, "--detach", is_flag=True, help="In the background; in a stack: without watching it.")
@option(ENGINE, "--dry-run", is_flag=True, help="Check everything, say what it will take and cost; start nothing.")
@click.option("--announce", type=int, hidden=True)
@place_options()
@json_option(*RUN_ANSWER_KEYS)
@click.pass_obj
def train(flags: Flags, /, detach: bool, announce: int | None, **options: Any) -> int:
    """Train RECIPE: a built-in one (see `lambdafit recipes`), a .py file that defines `recipe`, or a .keras model.

    On this machine, or in a deployed stack (--engine aws): there it goes on by itself, and Ctrl-C ends the watching.
    """
    if flags.place.is_cloud:
        from cli.stack_train import train_in_stack

        return train_in_stack(options, flags, detach=detach)
    if detach and not options["dry_run"]:
        from cli.detached import start_detached

        return start_detached(flags)
    from cli.train_run import train_run

    return train_run(options, flags, announce)
