"""The command line `lambdafit`. Commands are declared here and beside; what they do is imported when they run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from cli.cost_command import cost
from cli.dashboard_command import dashboard
from cli.data_commands import data
from cli.flags import Flags, Group, set_flag
from cli.machine_commands import doctor, invoke, recipes
from cli.model_commands import evaluate, export, predict
from cli.runs_commands import runs
from cli.stack_commands import deploy, undeploy
from cli.train_command import train
from cli.watch_commands import logs, watch

EXAMPLE = "lambdafit train digits-mlp --workers 4\nlambdafit runs show latest"


class Program(Group):
    """The group of all commands. However one ends, its end is one screen and an exit code."""

    def main(self, args: Sequence[str] | None = None, *_ignored: Any, **options: Any) -> Any:
        """Run, report, exit."""
        arguments = list(sys.argv[1:] if args is None else args)
        flags = Flags(arguments=arguments)
        try:
            code = super().main(arguments, **options | {"standalone_mode": False, "obj": flags})
        except BaseException as error:
            if isinstance(error, SystemExit):
                raise
            from cli.failure import report_failure

            code = report_failure(error, flags)
        sys.exit(code if isinstance(code, int) else 0)


def show_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    """Print the version and leave."""
    if value:
        from runs.code_version import VERSION

        click.echo(f"lambdafit {VERSION}")
        context.exit()


@click.group(
    cls=Program,
    name="lambdafit",
    example=EXAMPLE,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--debug", is_flag=True, expose_value=False, callback=set_flag, help="Show tracebacks.")
@click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=set_flag, help="Hide the progress.")
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=show_version, help="Show the version."
)
def main() -> None:
    """fit() for a Keras model, split among short-lived functions: on AWS Lambda or on a laptop.

    State lies in the folder LAMBDAFIT_HOME (.lambdafit unless set). RUN in a command is a run's id, the beginning of
    one, or `latest`.
    """


MODELS = (train, watch, dashboard, logs, runs, cost, predict, evaluate, export, recipes)
PLACES = (doctor, invoke, deploy, undeploy, data)

for command in (*MODELS, *PLACES):
    main.add_command(command)


if __name__ == "__main__":
    main(prog_name="lambdafit")
