"""`lambdafit runs …`: their options."""

from __future__ import annotations

import click

from cli.flags import RUN_ANSWER_KEYS, Command, Flags, Group, json_option
from cli.place import place_options

LIMIT = 20
SHOWN_ROUNDS = "10"


@click.group(cls=Group, example="lambdafit runs list\nlambdafit runs show latest")
def runs() -> None:
    """List, show, stop, resume and remove runs."""


@runs.command("list", cls=Command, short_help="The newest runs.", example="lambdafit runs list --limit 5")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="The newest so many.")
@place_options()
@json_option("runs")
@click.pass_obj
def list_runs(flags: Flags, limit: int, as_json: bool) -> None:
    """The newest runs, and whether they are being trained just now."""
    from cli.runs_list import show_list

    show_list(limit, flags, as_json=as_json)


@runs.command(
    "show",
    cls=Command,
    short_help="A run in full, and where its time went.",
    example="lambdafit runs show latest\nlambdafit runs show r-7f --rounds all",
)
@click.argument("run")
@click.option("--rounds", default=SHOWN_ROUNDS, show_default=True, metavar="N|all", help="The last so many rounds.")
@place_options()
@json_option(*RUN_ANSWER_KEYS)
@click.pass_obj
def show(flags: Flags, run: str, rounds: str, as_json: bool) -> None:
    """A run's settings, rounds, workers and attempts, and where its time went."""
    from cli.run_screen import show_run

    if rounds != "all" and not rounds.isdecimal():
        raise click.BadParameter("a number, or `all`", param_hint="--rounds")
    show_run(run, None if rounds == "all" else int(rounds), flags, as_json=as_json)


@runs.command(cls=Command, short_help="Stop a run.", example="lambdafit runs stop latest")
@click.argument("run")
@place_options()
@click.pass_obj
def stop(flags: Flags, run: str) -> None:
    """Stop a run, whichever process trains it. Its last checkpoint stays."""
    from cli.run_control import stop_run

    stop_run(run, flags)


@runs.command(
    cls=Command,
    short_help="Let a run go on from its checkpoint.",
    example="lambdafit runs resume latest\nlambdafit runs resume r-7f --max-cost-usd 2",
)
@click.argument("run")
@click.option("--max-cost-usd", type=float, help="Another budget, what is spent included.")
@click.option("--deadline-s", type=float, help="Seconds from now.")
@click.option("--detach", is_flag=True, help="Train in the background.")
@click.option("--announce", type=int, hidden=True)
@place_options()
@json_option(*RUN_ANSWER_KEYS)
@click.pass_obj
def resume(
    flags: Flags, run: str, max_cost_usd: float | None, deadline_s: float | None, detach: bool, announce: int | None,
    as_json: bool,
) -> int:  # fmt: skip
    """Let an interrupted, failed, stopped or budget-stopped run go on from its checkpoint."""
    changes = {"max_cost_usd": max_cost_usd, "deadline_s": deadline_s}
    if flags.place.is_cloud:
        from cli.stack_train import resume_run_in_stack

        return resume_run_in_stack(run, changes, flags, detach=detach)
    if detach:
        from cli.detached import start_detached

        return start_detached(flags)
    from cli.train_run import resume_run

    return resume_run(run, changes, flags, announce)


@runs.command(
    "rm",
    cls=Command,
    short_help="Remove runs for good.",
    example="lambdafit runs rm r-7f\nlambdafit runs rm --all-finished -y",
)
@click.argument("names", metavar="[RUN]...", nargs=-1)
@click.option("--all-finished", is_flag=True, help="All runs that have finished.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@place_options()
@click.pass_obj
def remove(flags: Flags, names: tuple[str, ...], all_finished: bool, yes: bool) -> int:
    """Remove runs with their files and logs, for good.

    Features of a frozen backbone go with the last run that uses them.
    """
    from cli.run_removal import remove_runs

    if not names and not all_finished:
        raise click.UsageError("Name at least one RUN, or give --all-finished.")
    return remove_runs(names, flags, all_finished=all_finished, ask=not yes)
