"""`undeploy`: what it will take away, the question, and what is left."""

from __future__ import annotations

from collections import Counter

import click

from cli.console import output
from cli.failure import echo_error
from cli.flags import Flags, print_json
from contracts.errors import InvalidSetting
from contracts.stack_errors import StackNotFound, UndeployIncomplete
from engines.aws_stack.account import Account
from engines.aws_stack.sam import check_stack_name
from engines.aws_stack.stack import describe, newest_deleted
from engines.aws_stack.undeploy import Undeployment
from runs.words import count

OURS = ("AWS::Lambda::Function", "AWS::DynamoDB::Table", "AWS::EFS::FileSystem")
"""A stack without one of these was not made from our template."""


def undeploy_stack(flags: Flags, *, ask: bool, as_json: bool) -> int:
    """Take a stack away.

    Returns:
        the exit code.
    """
    account = Account(flags.place.region, flags.place.profile)
    name = check_stack_name(flags.place.stack)
    place = f"stack {name} in {account.region}"
    there = describe(account, name)
    description = there or newest_deleted(account, name)
    if description is None:
        raise StackNotFound(place, "there is none of that name, and was none lately")
    undeployment = Undeployment(account, description, lambda text: None if flags.quiet else echo_error(text))
    stopped = 0
    if there is not None:
        kinds = Counter(resource.kind for resource in undeployment.resources)
        # A first deployment that failed at once has next to nothing: it may go. Anything else has to be ours.
        if kinds.total() > 3 and not any(kinds[kind] for kind in OURS):
            raise InvalidSetting("--stack-name", f"{place} is not one of lambdafit's", "one that `deploy` has made")
        if ask:
            _ask(name, account.region, kinds)
        stopped = undeployment.stop_runs()
        undeployment.empty_buckets()
        undeployment.delete_stack()
    left = undeployment.remove_leftovers()
    if as_json:
        names = [str(one) for one in left]
        print_json({"stack_name": name, "region": account.region, "stopped_runs": stopped, "left": names})
    if left:
        raise UndeployIncomplete(place, f"still there: {', '.join(str(one) for one in left)}", "nothing")
    if not as_json:
        output().print(f"Nothing is left of {place}.")
        output().print("DynamoDB keeps a last backup of the table for 35 days, free of charge; AWS removes it then.")
    return 0


def _ask(name: str, region: str, kinds: Counter[str]) -> None:
    """Have the name typed.

    Raises:
        click.Abort: it was not.
    """
    console = output()
    console.print(
        f"This deletes the stack {name} in {region} for good, with all runs, models, data sets, logs, backups:"
    )
    for kind, number in kinds.most_common(8):
        console.print(f"  {number:4}  {kind.removeprefix('AWS::').replace('::', ' ')}")
    console.print(f"  {count(kinds.total(), 'resource')} in all")
    if click.prompt("Type the stack's name to go on", default="", show_default=False) != name:
        echo_error("That is not its name. Nothing was deleted.")
        raise click.Abort
