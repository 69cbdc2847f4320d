"""`lambdafit watch` and `lambdafit logs`: their options."""

from __future__ import annotations

import click

from cli.flags import RUN_ANSWER_KEYS, Command, Flags, json_option
from cli.place import place_options


@click.command(cls=Command, example="lambdafit watch latest", short_help="Follow a run to its end.")
@click.argument("run")
@place_options()
@json_option(*RUN_ANSWER_KEYS)
@click.pass_obj
def watch(flags: Flags, run: str, as_json: bool) -> int:
    """Follow a run that another process trains, to its end. Ctrl-C stops the watching, not the run."""
    from cli.watch_run import watch_run

    return watch_run(run, flags)


@click.command(cls=Command, example="lambdafit logs latest --worker 2\nlambdafit logs latest -f")
@click.argument("run")
@click.option("--worker", type=click.IntRange(min=0), help="Only what this worker printed.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@place_options()
@click.pass_obj
def logs(flags: Flags, run: str, worker: int | None, follow: bool) -> None:
    """What the functions of a run printed."""
    from cli.log_screen import show_logs

    show_logs(run, worker, flags, follow=follow)
