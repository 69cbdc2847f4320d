"""What `doctor --engine aws` looks at: each check says what it found, or raises what is wrong and how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from contracts.stack_errors import LibrariesMissing, QuotaTooSmall, StackDamaged
from engines.aws import WORKERS_FUNCTIONS, AwsEngine, Tell
from engines.aws_stack import datasets
from engines.aws_stack.account import Account, aws_errors
from libraries.lock import lock_digest
from libraries.sources import POINTER

UNRESERVED_AT_LEAST = 100
"""Lambda keeps so many for functions without a reservation of their own (AWS)."""

LIGHT_FUNCTIONS = 10
"""Conduct, Monitor, Sweep and the rest want some of the quota, too."""


class Check(NamedTuple):
    """One check of a stack.

    Args:
        weight: essential, where no run can do without; telling, where a refusal to look says nothing; or minor.
        look: says what it found.
    """

    name: str
    weight: Literal["essential", "telling", "minor"]
    look: Callable[[], str]


def account_check(account: Account) -> Check:
    """Whether there are credentials, and whose."""

    def look() -> str:
        with aws_errors("AWS"):
            caller = account.client("sts").get_caller_identity()
        return f"{caller['Arn']}, {account.region}"

    return Check("credentials", "essential", look)


def stack_checks(engine: AwsEngine, tell: Tell) -> list[Check]:
    """All checks of a stack that is there."""
    return [
        Check("table", "telling", lambda: check_table(engine)),
        Check("stream", "telling", lambda: check_mappings(engine)),
        Check("quotas", "telling", lambda: check_quotas(engine)),
        Check("functions", "essential", lambda: check_functions(engine, tell)),
        Check("libraries", "essential", lambda: check_libraries(engine)),
        Check("data sets", "minor", lambda: check_datasets(engine)),
    ]


def check_table(engine: AwsEngine) -> str:
    """Whether the run store works, and tells of its changes."""
    where = f"{engine.stack.place}, table {engine.stack.table}"
    with aws_errors(where):
        table = engine.account.client("dynamodb").describe_table(TableName=engine.stack.table)["Table"]
    if table["TableStatus"] != "ACTIVE":
        raise StackDamaged(where, f"it is {table['TableStatus']}", "ACTIVE", advice="Wait until it is.")
    stream = table.get("StreamSpecification", {})
    if not stream.get("StreamEnabled") or stream.get("StreamViewType") not in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES"):
        raise StackDamaged(where, "it has no stream of new images", "one: without it runs go on once a minute at most")
    return f"{engine.stack.table} is active, with a stream"


def check_mappings(engine: AwsEngine) -> str:
    """Whether the stream and the queue of failures reach the functions that act on them."""
    found = []
    for function, wanted in (("conduct", 2), ("monitor", 1)):
        name = engine.stack.functions[function]
        where = f"{engine.stack.place}, function {name}"
        with aws_errors(where):
            mappings = engine.account.client("lambda").list_event_source_mappings(FunctionName=name)
        states = [mapping["State"] for mapping in mappings["EventSourceMappings"]]
        if states.count("Enabled") < wanted:
            received = f"its event source mappings are {', '.join(states) or 'none'}"
            raise StackDamaged(where, received, f"{wanted} that are Enabled")
        found.append(f"{function} {len(states)}")
    return f"event source mappings are enabled: {', '.join(found)}"


def check_quotas(engine: AwsEngine) -> str:
    """Whether as many functions may run as the stack lets a run have workers."""
    client, workers = engine.account.client("lambda"), engine.stack.workers_ceiling
    where = f"account in {engine.stack.region}"
    with aws_errors(where):
        limit: dict[str, Any] = client.get_account_settings()["AccountLimit"]
        reserved = client.get_function_concurrency(FunctionName=engine.stack.functions["train"]).get(
            "ReservedConcurrentExecutions"
        )
    total, unreserved = limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]
    if reserved is not None and reserved < workers:
        received = f"the train function has {reserved} reserved"
        advice = f"Deploy with --parameter WorkersCeiling={reserved}, or with a greater ReservedConcurrency."
        raise QuotaTooSmall(where, received, f"{workers}, the stack's WorkersCeiling", advice=advice)
    if reserved is None and unreserved < workers + LIGHT_FUNCTIONS:
        fitting = max(1, unreserved - LIGHT_FUNCTIONS)
        advice = (
            f"Deploy with --parameter WorkersCeiling={fitting}, or have `Concurrent executions` of Lambda raised in "
            "the Service Quotas console."
        )
        received = f"{unreserved} functions may run at once without a reservation ({total} in all)"
        expected = f"{workers + LIGHT_FUNCTIONS}: the stack's WorkersCeiling and {LIGHT_FUNCTIONS} for the others"
        raise QuotaTooSmall(where, received, expected, advice=advice)
    mine = f"{reserved} reserved for train" if reserved is not None else f"{unreserved} unreserved"
    return f"{total} functions at once, {mine}, {workers} workers at most"


def check_functions(engine: AwsEngine, tell: Tell) -> str:
    """Whether every function in the VPC answers, has this code, and can write to the file system."""
    functions = (*WORKERS_FUNCTIONS, "predict")
    engine.wake(tell, functions)
    return f"{', '.join(functions)} answer, and write to {engine.stack.outputs['FileSystemId']}"


def check_libraries(engine: AwsEngine) -> str:
    """Whether the workers find the libraries that this code wants, for their processors."""
    engine.check_libraries()
    found = engine.bucket.read_json(POINTER) or {}
    architecture = engine.stack.outputs["Architecture"]
    if found.get("architecture", architecture) != architecture:
        received = f"they are for {found['architecture']}"
        raise LibrariesMissing(engine.stack.place, received, f"{architecture}, as the functions")
    if found.get("lock", lock_digest()) != lock_digest():
        received = f"its pins are {str(found['lock'])[:12]}…"
        raise LibrariesMissing(engine.stack.place, received, f"{lock_digest()[:12]}…, as this code wants")
    source = engine.stack.outputs["LibrariesSource"]
    return f"{str(found.get('digest', ''))[:12]}, {found.get('bytes', 0) / 1e6:.0f} MB, {architecture}, from {source}"


def check_datasets(engine: AwsEngine) -> str:
    """Which data sets are there."""
    names = [stored.name for stored in datasets.stored(engine.bucket)]
    return ", ".join(names) or "none yet; a run brings its own"
