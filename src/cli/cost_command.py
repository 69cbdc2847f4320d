"""`lambdafit cost`: its options."""

from __future__ import annotations

import click

from cli.flags import Command, Flags, json_option, option
from cli.place import place_options

ARCHITECTURES = click.Choice(("x86_64", "arm64"))
COST_ANSWER_KEYS = ("region", "price_date", "prices", "lines", "total_usd", "assumptions")
PRICES = "Prices"
EXAMPLE = "lambdafit cost latest\nlambdafit cost r-7f --architecture arm64 --json\nlambdafit cost --idle"


@click.command(cls=Command, example=EXAMPLE, short_help="What a run has cost on AWS, line by line.")
@click.argument("run", required=False)
@click.option("--idle", is_flag=True, help="In place of a run: a deployed stack that nobody uses, a month.")
@option(PRICES, "--architecture", type=ARCHITECTURES, default="x86_64", show_default=True, help="Of the functions.")
@option(PRICES, "--price-region", default="", metavar="NAME", help="Whose prices.  [default: --region, or us-east-1]")
@place_options()
@json_option(*COST_ANSWER_KEYS)
@click.pass_obj
def cost(flags: Flags, /, run: str | None, idle: bool, architecture: str, price_region: str, as_json: bool) -> None:
    """The bill of RUN: Lambda, EFS, DynamoDB, S3, and the same work on EC2.

    Works while the run goes on. A run on this machine is counted as if its functions had taken as long on Lambda.
    """
    if idle == (run is not None):
        raise click.UsageError("Name one RUN, or give --idle.")
    from cli.cost_screen import show_bill, show_idle

    region = price_region or flags.place.price_region
    if run is None:
        show_idle(architecture, region, as_json=as_json)
    else:
        show_bill(run, architecture, region, flags, as_json=as_json)
