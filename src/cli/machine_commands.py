"""`lambdafit recipes`, `doctor` and `invoke`: their options."""

from __future__ import annotations

from typing import BinaryIO

import click

from cli.flags import Command, Flags, json_option
from cli.place import place_options


@click.command(cls=Command, example="lambdafit recipes", short_help="The built-in recipes.")
@json_option("recipes")
def recipes(as_json: bool) -> None:
    """The built-in recipes with their defaults and settings."""
    from cli.recipes_screen import show_recipes

    show_recipes(as_json=as_json)


@click.command(
    cls=Command,
    example="lambdafit doctor\nlambdafit doctor --engine aws --stack-name lambdafit",
    short_help="Check this machine, or a stack.",
)
@place_options()
@json_option("ok", "checks")
@click.pass_obj
def doctor(flags: Flags, as_json: bool) -> int:
    """Check this machine: Python, disk, home, TensorFlow, data sets. Exit code 3 if something must be mended.

    With --engine aws check a deployed stack: credentials, version, table, stream, quotas, functions and their file
    system, libraries, data sets.
    """
    if flags.place.is_cloud:
        from cli.stack_doctor import examine_stack

        return examine_stack(flags, as_json=as_json)
    from cli.doctor import examine

    return examine(as_json=as_json)


@click.command(
    cls=Command,
    example="""lambdafit invoke start -e events/start.json
echo '{"start": true, "workers": 5}' | lambdafit invoke start -e -""",
    short_help="Run one function with an event file.",
)
@click.argument("function")
@click.option("-e", "--event", type=click.File("rb"), required=True, help="A JSON file; - for the standard input.")
@click.pass_obj
def invoke(flags: Flags, function: str, event: BinaryIO) -> None:
    """Run one FUNCTION with an event and print its answer, as `sam local invoke` does.

    Functions are start, prepare, train, combine and predict.
    """
    from cli.invocation import invoke_function

    invoke_function(function, event.read(), flags)
