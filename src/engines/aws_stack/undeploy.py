"""Takes a stack away, in the order in which AWS lets its parts go."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.errors import LambdafitError
from contracts.stack_errors import UndeployIncomplete
from engines.aws_stack import leftovers
from engines.aws_stack.account import Account, aws_errors
from engines.aws_stack.bucket import Bucket
from engines.aws_stack.leftovers import Left
from engines.aws_stack.stack import describe
from handlers import wiring
from runs import control
from runs.services import Services
from stores.dynamodb import DynamoStore

POLL_S = 10.0
DELETE_LIMIT_S = 90 * 60.0
"""Lambda may keep its network interfaces for 40 minutes."""

MOST_TRIES = 5
GONE = "DELETE_COMPLETE"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Resource:
    """One resource of the stack, as CloudFormation lists it."""

    name: str
    kind: str
    physical: str
    status: str


class Undeployment:
    """The taking away of one stack. Each step may be done again; the steps come in this order.

    Args:
        description: of the stack, as CloudFormation gives it.
        say: told what goes on.
        sleep, now: the clock.
    """

    def __init__(
        self,
        account: Account,
        description: dict[str, Any],
        say: Say,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._account = account
        self.name: str = description["StackName"]
        self.stack_id: str = description["StackId"]
        self._say = say
        self._sleep = sleep
        self._now = now
        self.resources = self._list()
        self._recovery_points = leftovers.recovery_points(account, self.stack_id, self._of("AWS::EFS::FileSystem"))

    def stop_runs(self) -> int:
        """Cancel what goes on, so that no function writes any more.

        Returns:
            how many runs.
        """
        stopped = 0
        for table in self._of("AWS::DynamoDB::Table"):
            store = DynamoStore(table, self._account.client("dynamodb"))
            files, clock, randomness = leftovers.NO_FILES, wiring.SystemClock(), wiring.SystemRandomness()
            services = Services(store, store, files, wiring.NoInvoker(), clock, randomness)
            for run_id in store.open_run_ids():
                control.cancel(services, run_id, why="its stack is taken away")
                self._say(f"Stopped run {run_id}")
                stopped += 1
        return stopped

    def empty_buckets(self) -> int:
        """Remove every version of every object: CloudFormation deletes only empty buckets.

        Returns:
            how many there were.
        """
        removed = 0
        for bucket in self._of("AWS::S3::Bucket"):
            if leftovers.exists(self._account, Left("bucket", bucket)):
                removed += Bucket(self._account, bucket).remove_all()
        if removed:
            self._say(f"Removed {removed:,} objects and versions")
        return removed

    def delete_stack(self) -> None:
        """Have CloudFormation delete the stack, and wait until it has.

        Raises:
            UndeployIncomplete: it cannot delete something, also when asked again.
        """
        cloudformation = self._account.client("cloudformation")
        for attempt in range(1, MOST_TRIES + 1):
            with aws_errors(f"stack {self.name}"):
                cloudformation.delete_stack(StackName=self.stack_id)
            status, reason = self._wait()
            if status == GONE:
                return
            stuck = [one for one in self._list() if one.status == "DELETE_FAILED"]
            names = ", ".join(f"{one.name} ({one.kind})" for one in stuck)
            self._say(f"CloudFormation could not delete {names or 'the stack'}: {reason} Trying again")
            if attempt < MOST_TRIES:
                self._make_way(stuck)
        raise UndeployIncomplete(f"stack {self.name}", f"CloudFormation could not delete {names}: {reason}")

    def remove_leftovers(self) -> list[Left]:
        """Remove what CloudFormation leaves by its nature.

        Returns:
            what is still there: it could not be removed, or not even be looked at.
        """
        found = leftovers.find(self._account, self.name, self._everything())
        found += self._recovery_points
        for left in found:
            try:
                leftovers.remove(self._account, left)
                self._say(f"Removed {left}")
            except LambdafitError as error:
                self._say(f"Could not remove {left}: {error.message}")
        return [left for left in found if leftovers.exists(self._account, left)]

    def _everything(self) -> Sequence[tuple[str, str]]:
        """Type and physical id of what the stack had."""
        return [(one.kind, one.physical) for one in self.resources]

    def _make_way(self, stuck: Sequence[Resource]) -> None:
        """Do something about what CloudFormation could not delete."""
        kinds = {one.kind for one in stuck}
        if "AWS::S3::Bucket" in kinds:
            self.empty_buckets()
        if any(kind.startswith("AWS::EC2::") for kind in kinds):
            for vpc in self._of("AWS::EC2::VPC"):
                self._wait_for_interfaces(vpc)

    def _wait_for_interfaces(self, vpc: str) -> None:
        """Until Lambda has let go of its network interfaces; those that nobody uses are deleted at once."""
        until = self._now() + DELETE_LIMIT_S / 2
        while self._now() < until:
            in_use = leftovers.release_interfaces(self._account, vpc)
            if not in_use:
                return
            self._say(f"Waiting for Lambda to let go of {in_use} network interfaces")
            self._sleep(POLL_S * 3)

    def _wait(self) -> tuple[str, str]:
        """Wait until the deletion has ended. Returns status and reason."""
        until = self._now() + DELETE_LIMIT_S
        remaining = -1
        while self._now() < until:
            found = describe(self._account, self.stack_id)
            status = found["StackStatus"] if found is not None else GONE
            if status != "DELETE_IN_PROGRESS":
                return status, str((found or {}).get("StackStatusReason", ""))
            there = sum(one.status not in (GONE, "DELETE_SKIPPED") for one in self._list())
            if there != remaining:
                remaining = there
                self._say(f"Deleting: {remaining} resources to go")
            self._sleep(POLL_S)
        return "DELETE_IN_PROGRESS", f"it takes longer than {DELETE_LIMIT_S / 60:.0f} minutes."

    def _of(self, kind: str) -> list[str]:
        """The physical ids of all resources of a type."""
        return [one.physical for one in self.resources if one.kind == kind and one.physical]

    def _list(self) -> list[Resource]:
        found: list[Resource] = []
        with aws_errors(f"stack {self.name}"):
            paginator = self._account.client("cloudformation").get_paginator("list_stack_resources")
            for page in paginator.paginate(StackName=self.stack_id):
                found += [
                    Resource(
                        item["LogicalResourceId"], item["ResourceType"], item.get("PhysicalResourceId", ""),
                        item["ResourceStatus"],
                    )
                    for item in page["StackResourceSummaries"]
                ]  # fmt: skip
        return found
