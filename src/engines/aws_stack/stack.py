"""A deployed stack: what its outputs say, and whether this code may work with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from botocore.exceptions import ClientError

from contracts.stack_errors import StackNotFound, StackNotReady, StackVersionDiffers
from engines.aws_stack.account import Account, aws_errors, error_code
from runs.code_version import VERSION

USABLE = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE", "UPDATE_ROLLBACK_COMPLETE",
                    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"})  # fmt: skip
"""ROLLBACK_COMPLETE is not among them: that is a first deployment that failed, and nothing but its name is left."""

GONE = frozenset({"DELETE_COMPLETE", "REVIEW_IN_PROGRESS"})

FUNCTIONS = {
    "start": "StartRunFunction",
    "conduct": "ConductFunction",
    "sweep": "SweepFunction",
    "monitor": "MonitorFunction",
    "train": "TrainFunction",
    "combine": "CombineFunction",
    "prepare": "PrepareFunction",
    "install-libraries": "InstallLibrariesFunction",
    "predict": "PredictFunction",
}
"""lambdafit's name of a function → the stack's output that says what it is called on AWS."""

OUTPUTS = (*FUNCTIONS.values(), "TableName", "BucketName", "FileSystemId", "LibrariesSource", "CodeVersion",
           "TrainMemoryMb", "TrainTimeLimitS", "WorkersCeiling", "Architecture")  # fmt: skip
"""Without these a stack is half-deployed, or not ours."""


@dataclass(frozen=True)
class Stack:
    """A stack that is there and whole.

    Args:
        stack_id: its ARN; names it also after it has been deleted.
        outputs: as CloudFormation has them.
    """

    name: str
    region: str
    stack_id: str
    status: str
    outputs: Mapping[str, str]

    @classmethod
    def find(cls, account: Account, name: str) -> Self:
        """The stack of this name, which code of this version made.

        Raises:
            StackNotFound: there is none.
            StackNotReady: it is being changed, failed, or lacks an output.
            StackVersionDiffers: other code made it.
            CredentialsMissing, AccessDenied, RegionMissing, AwsUnreachable: AWS cannot be asked.
        """
        stack = cls.find_any_version(account, name)
        deployed = stack.outputs["CodeVersion"].split("+")[0]
        if deployed != VERSION:
            older = _numbers(deployed) < _numbers(VERSION)
            raise StackVersionDiffers(
                stack.place,
                f"its code is of the {'older' if older else 'newer'} version {deployed}",
                f"{VERSION}, as this command line",
                advice="Bring the stack up to it: `lambdafit deploy`." if older else "Install that version here.",
            )
        return stack

    @classmethod
    def find_any_version(cls, account: Account, name: str) -> Self:
        """As `find`, whatever code made it."""
        place = f"stack {name} in {account.region}"
        described = describe(account, name)
        if described is None or described["StackStatus"] in GONE:
            raise StackNotFound(place, "there is none of that name")
        status, reason = described["StackStatus"], described.get("StackStatusReason", "")
        if status not in USABLE:
            advice = "Wait until it is over." if status.endswith("_IN_PROGRESS") else ""
            raise StackNotReady(place, f"it is in {status}" + (f" ({reason})" if reason else ""), advice=advice)
        outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
        missing = [name for name in OUTPUTS if name not in outputs]
        if missing:
            raise StackNotReady(place, f"it has no output {', '.join(missing)}", "a stack of lambdafit's template")
        return cls(name, account.region, described["StackId"], status, outputs)

    @property
    def place(self) -> str:
        """How messages name it."""
        return f"stack {self.name} in {self.region}"

    @property
    def table(self) -> str:
        """The DynamoDB table."""
        return self.outputs["TableName"]

    @property
    def bucket(self) -> str:
        """The S3 bucket."""
        return self.outputs["BucketName"]

    @property
    def functions(self) -> dict[str, str]:
        """lambdafit's name of each function → its name on AWS."""
        return {name: self.outputs[output] for name, output in FUNCTIONS.items()}

    @property
    def memory_mb(self) -> int:
        """Of the functions that train."""
        return int(self.outputs["TrainMemoryMb"])

    @property
    def time_limit_s(self) -> float:
        """Of the functions that train."""
        return float(self.outputs["TrainTimeLimitS"])

    @property
    def workers_ceiling(self) -> int:
        """How many workers may run side by side."""
        return int(self.outputs["WorkersCeiling"])


def describe(account: Account, name: str) -> dict[str, Any] | None:
    """CloudFormation's description of a stack by its name or ARN; None where it knows none."""
    cloudformation = account.client("cloudformation")
    with aws_errors(f"stack {name} in {account.region}"):
        try:
            (found,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if error_code(error) == "ValidationError" and "does not exist" in str(error):
                return None
            raise
    return dict(found)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def newest_deleted(account: Account, name: str) -> dict[str, Any] | None:
    """The stack of this name that was deleted last, as far as CloudFormation remembers (90 days); None without any."""
    with aws_errors(f"stack {name} in {account.region}"):
        pages = account.client("cloudformation").get_paginator("list_stacks")
        found = [
            dict(summary)
            for page in pages.paginate(StackStatusFilter=["DELETE_COMPLETE"])
            for summary in page["StackSummaries"]
            if summary["StackName"] == name
        ]
    return max(found, key=_deleted_at, default=None)


def _deleted_at(summary: dict[str, Any]) -> datetime:
    moment: datetime = summary.get("DeletionTime") or summary["CreationTime"]
    return moment
