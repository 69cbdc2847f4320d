"""`doctor --engine aws`: what could keep a run from working in a stack, each with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from cli.checks import Check, guarded, show_checks
from cli.failure import echo_error
from cli.flags import Flags
from cli.place import Place
from contracts.errors import LambdafitError
from contracts.stack_errors import AccessDenied
from engines.aws import AwsEngine
from engines.aws_stack import checks
from engines.aws_stack.account import Account
from engines.aws_stack.sam import find_sam
from engines.aws_stack.stack import Stack

NAME_WIDTH = len("credentials")


def examine_stack(flags: Flags, *, as_json: bool) -> int:
    """Look at a stack and at what is needed to work with it, and print it, one line each as it is known.

    Returns:
        0, or 3 where something has to be mended.
    """
    return show_checks(stack_checks(flags.place, quiet=flags.quiet or as_json), NAME_WIDTH, as_json=as_json)


def stack_checks(place: Place, *, quiet: bool) -> Iterator[Check]:
    """All checks, in the order in which their answers matter. What builds on a failed one is left out."""
    yield from guarded("sam", lambda: Check("sam", "ok", str(find_sam())), otherwise="note")
    account = Account(place.region, place.profile)
    (credentials,) = _look(checks.account_check(account))
    yield credentials
    if credentials.state == "bad":
        return
    try:
        stack = Stack.find(account, place.stack)
    except LambdafitError as error:
        record = error.record()
        yield Check("stack", "bad", f"{record.number} {record.message}", record.advice)
        return
    yield Check("stack", "ok", f"{stack.name} in {stack.region}, version {stack.outputs['CodeVersion']}")
    engine = AwsEngine(account, stack)
    for check in checks.stack_checks(engine, partial(_tell, quiet)):
        yield from _look(check)


def _look(check: checks.Check) -> Iterator[Check]:
    """A check's answer. What only an administrator may look at is worth a note: runs may work all the same."""
    try:
        yield Check(check.name, "ok", check.look())
    except LambdafitError as error:
        record = error.record()
        bad = check.weight == "essential" or (check.weight == "telling" and not isinstance(error, AccessDenied))
        yield Check(check.name, "bad" if bad else "note", f"{record.number} {record.message}", record.advice)


def _tell(quiet: bool, function: str, error: LambdafitError) -> None:
    if not quiet:
        echo_error(f"Waiting for the function {function}: {error.message.splitlines()[0]}")
