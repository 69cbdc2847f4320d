"""`deploy`: what it will make and cost, the question, and the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import click

from cli.console import make_table, output
from cli.data_screen import which
from cli.failure import echo_error
from cli.flags import Flags, print_json
from cli.stack_doctor import examine_stack
from cli.stack_train import data_places
from cli.transfer_bar import TransferBar
from contracts.stack_errors import DeployFailed
from engines.aws import AwsEngine
from engines.aws_stack import datasets, libraries_upload, plan, sam
from engines.aws_stack.account import Account, aws_errors
from engines.aws_stack.stack import Stack, describe
from runs.idle import idle_cost
from runs.price_list import Architecture
from runs.usage import total_usd
from runs.words import usd

FIRST_DATASET = "digits"
DIGEST = "LibrariesDigest"


def deploy_stack(parameters: Sequence[str], flags: Flags, *, guided: bool, ask: bool, as_json: bool) -> int:
    """Make or update a stack, bring it its libraries and a first data set, and check it.

    Returns:
        the exit code: 3 where the check finds something to mend.
    """
    program, template = sam.find_sam(), sam.find_template()
    name = sam.check_new_stack_name(flags.place.stack)
    given = sam.parse_parameters(parameters, template)
    account = Account(flags.place.region, flags.place.profile)
    with aws_errors("AWS"):
        owner = account.client("sts").get_caller_identity()["Account"]
    there = describe(account, name)
    if there is not None and there["StackStatus"] == "ROLLBACK_COMPLETE":
        raise DeployFailed(
            f"stack {name} in {account.region}",
            "its first deployment failed, and CloudFormation lets nobody update what is left of it",
            advice=f"`lambdafit undeploy --stack-name {name}` takes it away; then deploy again.",
        )
    if ask and not guided:
        _ask(name, f"{account.region}, account {owner}", template.read_text(encoding="utf-8"), given, flags, there)
    environment = sam.program_environment(account.region, flags.place.profile)
    architecture = given.get("Architecture") or _parameter(there, "Architecture")
    sam.build(program, template, environment=environment, architecture=architecture)
    sam.deploy(program, template, name, given, environment=environment, guided=guided)
    engine = AwsEngine(account, Stack.find(account, name))
    with TransferBar(flags) as bar:
        trusted = given.get(DIGEST) or _parameter(there, DIGEST)
        digest = libraries_upload.bring(engine, bar.begin, echo_error, trusted=trusted)
        if digest != trusted:
            # Part of the stack, which CloudFormation guards, and not of the bucket, which more can write.
            echo_error("Telling the functions the digest of their libraries")
            sam.deploy(program, template, name, {DIGEST: digest}, environment=environment, guided=False)
        libraries_upload.install(engine, digest, echo_error)
        wanted, known = which(FIRST_DATASET, None)
        datasets.bring(engine.bucket, wanted, known, data_places(), bar.begin)
    if as_json:
        print_json(
            {
                "stack_name": name,
                "region": account.region,
                "code_version": engine.stack.outputs["CodeVersion"],
                "libraries": digest,
                "datasets": [stored.name for stored in datasets.stored(engine.bucket)],
                "outputs": dict(engine.stack.outputs),
            }
        )
        return 0
    code = examine_stack(flags, as_json=False)
    place = flags.place.suffix
    output().print(f"\n{engine.stack.place} is deployed. Train in it: lambdafit train digits-mlp --workers 4{place}")
    return code


def _parameter(stack: Mapping[str, Any] | None, name: str) -> str:
    """A parameter's value in the stack that is there; empty where there is none."""
    found = stack.get("Parameters", []) if stack else []
    return next((str(one["ParameterValue"]) for one in found if one["ParameterKey"] == name), "")


def _ask(
    name: str, where: str, template: str, given: dict[str, str], flags: Flags, there: dict[str, object] | None
) -> None:
    """Say what will be made and what it costs, and ask.

    Raises:
        click.Abort: the answer is no.
    """
    console = output()
    resources = sam.resource_counts(template)
    account_line = "updates" if there is not None else "makes"
    console.print(f"This {account_line} the stack {name} in {where}:")
    for line in plan.made(resources):
        console.print(f"  {line}")
    for parameter, value in given.items():
        console.print(f"  with {parameter}={value}")
    region = Account(flags.place.region, flags.place.profile).region
    architecture = given.get("Architecture") or _parameter(there, "Architecture") or "x86_64"
    idle = idle_cost(architecture=cast("Architecture", architecture), region=region)
    table = make_table("a month in which nothing runs", "at most", numbers=("at most",))
    for service in dict.fromkeys(line.group for line in idle.lines):
        table.add_row(service, usd(total_usd([line for line in idle.lines if line.group == service])))
    table.add_row("together", usd(idle.total_usd))
    console.print()
    console.print(table)
    console.print(f"({idle.prices}; line by line: lambdafit cost --idle)\n")
    click.confirm("Go on?", abort=True)
