"""`lambdafit deploy` and `undeploy`: their options."""

from __future__ import annotations

import click

from cli.flags import Command, Flags, json_option
from cli.place import place_options

DEPLOY_KEYS = ("stack_name", "region", "code_version", "libraries", "datasets", "outputs")


@click.command(
    cls=Command,
    short_help="Make or update a stack on AWS.",
    example="""lambdafit deploy --region eu-central-1
lambdafit deploy --stack-name lambdafit-dev --parameter WorkersCeiling=4 --parameter BudgetUsd=10 --yes""",
)
@place_options(engine=False)
@click.option("--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="Of template.yaml; repeatable.")
@click.option("--guided", is_flag=True, help="Have sam ask for each parameter.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option(*DEPLOY_KEYS)
@click.pass_obj
def deploy(flags: Flags, parameters: tuple[str, ...], guided: bool, yes: bool, as_json: bool) -> int:
    """Build and deploy the stack of this checkout with the AWS SAM CLI, and bring it to life.

    It says first what it will make and what that costs, and asks. Then it uploads the workers' libraries and the digits
    data set, and checks the stack as `lambdafit doctor` does. Again, it does only what is not done.
    """
    from cli.deploy_screen import deploy_stack

    return deploy_stack(parameters, flags, guided=guided, ask=not yes, as_json=as_json)


@click.command(
    cls=Command,
    short_help="Take a stack away, with everything in it.",
    example="lambdafit undeploy --stack-name lambdafit-dev",
)
@place_options(engine=False)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option("stack_name", "region", "stopped_runs", "left")
@click.pass_obj
def undeploy(flags: Flags, yes: bool, as_json: bool) -> int:
    """Stop all runs of a stack and delete it with all data, models, logs and backups, for good.

    It asks for the stack's name. At the end it looks whether something is left, and says what. Exit code 3 if so.
    """
    from cli.undeploy_screen import undeploy_stack

    return undeploy_stack(flags, ask=not yes, as_json=as_json)
