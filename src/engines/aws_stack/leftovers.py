"""What a deleted stack leaves behind, found and removed, one kind after the other.

Layers keep their versions, functions their log groups, replaced tables and buckets stay by `UpdateReplacePolicy`, a
file system's backups and sam's uploads belong to nobody's stack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from contracts.stack_errors import AwsRefused
from engines.aws_stack.account import Account, aws_errors, error_code
from engines.aws_stack.bucket import Bucket
from engines.aws_stack.far_files import FilesOutOfReach
from engines.aws_stack.stack import describe

NO_FILES = FilesOutOfReach("a stack that is taken away")
SAM_STACK = "aws-sam-cli-managed-default"
"""The stack in which sam keeps the bucket of all its uploads."""

ABSENT = frozenset(
    {"404", "NoSuchBucket", "NotFound", "ResourceNotFoundException", "FileSystemNotFound", "ValidationError",
     "InvalidVpcID.NotFound", "InvalidNetworkInterfaceID.NotFound"}
)  # fmt: skip


FUNCTIONS = (
    "start-run", "conduct", "sweep", "monitor", "train", "combine", "prepare", "install-libraries", "predict",
)  # fmt: skip
"""What the template calls the functions, behind the stack's name; a test holds them together."""


class Left(NamedTuple):
    """Something that is still there.

    Args:
        kind: what it is, for people, and a key of this module's tables.
        name: what AWS calls it.
        part: what is needed beside the name: a version, a vault, a prefix.
    """

    kind: str
    name: str
    part: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f" {self.part}" if self.part else "")


def find(account: Account, stack_name: str, resources: Sequence[tuple[str, str]]) -> list[Left]:
    """Everything that is still there of a deleted stack.

    Args:
        resources: type and physical id of what it had.
    """
    own = {f"/aws/lambda/{stack_name}-{function}" for function in FUNCTIONS}  # and no stack's that begins so
    found = [Left("log group", name) for name in _log_groups(account, f"/aws/lambda/{stack_name}-") if name in own]
    for kind, physical in resources:
        if kind == "AWS::Lambda::LayerVersion" and physical.startswith("arn:"):
            found += _layer_versions(account, physical.rsplit(":", 1)[0])
    named = {"AWS::DynamoDB::Table": "table", "AWS::S3::Bucket": "bucket", "AWS::EFS::FileSystem": "file system",
             "AWS::Logs::LogGroup": "log group"}  # fmt: skip
    found += [Left(named[kind], physical) for kind, physical in resources if kind in named and physical]
    found += _tagged(account, stack_name)
    found += _uploads(account, stack_name)
    return [left for left in dict.fromkeys(found) if exists(account, left)]


def recovery_points(account: Account, stack_id: str, file_systems: Sequence[str]) -> list[Left]:
    """The backups of file systems; asked for while these are still there."""
    partition, region, owner = stack_id.split(":")[1], stack_id.split(":")[3], stack_id.split(":")[4]
    found = []
    for file_system in file_systems:
        arn = f"arn:{partition}:elasticfilesystem:{region}:{owner}:file-system/{file_system}"
        with aws_errors(f"backups of {file_system}"):
            pages = account.client("backup").get_paginator("list_recovery_points_by_resource")
            for page in pages.paginate(ResourceArn=arn):
                points = page.get("RecoveryPoints", [])
                found += [Left("backup", one["RecoveryPointArn"], one["BackupVaultName"]) for one in points]
    return found


def release_interfaces(account: Account, vpc: str) -> int:
    """Delete the network interfaces in a VPC that nobody uses any more.

    Returns:
        how many are still in use.
    """
    ec2 = account.client("ec2")
    in_use = 0
    with aws_errors(f"network interfaces of {vpc}"):
        filters = [{"Name": "vpc-id", "Values": [vpc]}]
        for interface in ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]:
            if interface["Status"] != "available":
                in_use += 1
                continue
            try:
                ec2.delete_network_interface(NetworkInterfaceId=interface["NetworkInterfaceId"])
            except ClientError as error:
                if error_code(error) not in ABSENT:
                    raise
    return in_use


def remove(account: Account, left: Left) -> None:
    """Remove it. No error where it is gone.

    Raises:
        AwsRefused, AccessDenied: AWS will not.
    """
    if left.kind == "bucket":
        if not exists(account, left):
            return
        Bucket(account, left.name).remove_all()
    with aws_errors(str(left)):
        _quiet(lambda: _REMOVERS[left.kind](account, left))


def exists(account: Account, left: Left) -> bool:
    """Whether it is there."""
    with aws_errors(str(left)):
        return _quiet(lambda: _LOOKERS[left.kind](account, left)) is not None


def _quiet(ask: Callable[[], Any]) -> Any:
    """The answer; None where AWS says that there is no such thing."""
    try:
        return ask()
    except ClientError as error:
        if error_code(error) in ABSENT:
            return None
        raise


def _log_groups(account: Account, prefix: str) -> list[str]:
    with aws_errors(f"log groups {prefix}"):
        pages = account.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix)
        return [group["logGroupName"] for page in pages for group in page["logGroups"]]


def _layer_versions(account: Account, layer: str) -> list[Left]:
    with aws_errors(f"layer {layer}"):
        pages = account.client("lambda").get_paginator("list_layer_versions").paginate(LayerName=layer)
        return [Left("layer", layer, str(one["Version"])) for page in pages for one in page["LayerVersions"]]


def _tagged(account: Account, stack_name: str) -> list[Left]:
    """Tables, buckets and file systems that an update has replaced and kept: CloudFormation's tags stay on them."""
    kinds = {"dynamodb:table": "table", "s3": "bucket", "elasticfilesystem:file-system": "file system"}
    found = []
    with aws_errors(f"what is tagged with {stack_name}"):
        pages = account.client("resourcegroupstaggingapi").get_paginator("get_resources")
        tags = [{"Key": "aws:cloudformation:stack-name", "Values": [stack_name]}]
        for page in pages.paginate(TagFilters=tags, ResourceTypeFilters=list(kinds)):
            for item in page["ResourceTagMappingList"]:
                _, _, service, _, _, resource = item["ResourceARN"].split(":", 5)
                kind = next(kind for key, kind in kinds.items() if key.split(":")[0] == service)
                found.append(Left(kind, resource.rpartition("/")[2]))
    return found


def _uploads(account: Account, stack_name: str) -> list[Left]:
    """What sam has uploaded for this stack."""
    sam = describe(account, SAM_STACK)
    outputs = {one["OutputKey"]: one["OutputValue"] for one in sam.get("Outputs", [])} if sam else {}
    bucket = outputs.get("SourceBucket", "")
    return [Left("uploads of sam", bucket, f"{stack_name}/")] if bucket else []


def _backup(account: Account, left: Left) -> Any:
    return account.client("backup").describe_recovery_point(BackupVaultName=left.part, RecoveryPointArn=left.name)


def _table(account: Account, left: Left) -> str | None:
    table = account.client("dynamodb").describe_table(TableName=left.name)["Table"]
    return None if table["TableStatus"] == "DELETING" else left.name


def _file_system(account: Account, left: Left) -> str | None:
    (found,) = account.client("efs").describe_file_systems(FileSystemId=left.name)["FileSystems"]
    return None if found["LifeCycleState"] in ("deleting", "deleted") else left.name


def _group(account: Account, left: Left) -> str | None:
    return left.name if left.name in _log_groups(account, left.name) else None


def _delete_file_system(account: Account, left: Left) -> None:
    efs = account.client("efs")
    for target in efs.describe_mount_targets(FileSystemId=left.name)["MountTargets"]:
        efs.delete_mount_target(MountTargetId=target["MountTargetId"])
    efs.delete_file_system(FileSystemId=left.name)


def _delete_backup(account: Account, left: Left) -> None:
    try:
        account.client("backup").delete_recovery_point(BackupVaultName=left.part, RecoveryPointArn=left.name)
    except ClientError as error:
        if error_code(error) not in ("AccessDeniedException", "InvalidRequestException"):
            raise
        # The vault that EFS makes for itself forbids it by its access policy, to everybody.
        received = f"the access policy of the vault {left.part} forbids to delete its backups"
        advice = "AWS removes them after 35 days; or take the denial out of the vault's access policy, and try again."
        raise AwsRefused(str(left), received, advice=advice) from error


_LOOKERS: Mapping[str, Callable[[Account, Left], Any]] = {
    "table": _table,
    "bucket": lambda account, left: account.client("s3").head_bucket(Bucket=left.name),
    "file system": _file_system,
    "log group": _group,
    "layer": lambda account, left: account.client("lambda").get_layer_version(
        LayerName=left.name, VersionNumber=int(left.part)
    ),
    "backup": _backup,
    "uploads of sam": lambda account, left: next(Bucket(account, left.name).keys(left.part), None),
}
_REMOVERS: Mapping[str, Callable[[Account, Left], Any]] = {
    "table": lambda account, left: account.client("dynamodb").delete_table(TableName=left.name),
    "bucket": lambda account, left: account.client("s3").delete_bucket(Bucket=left.name),
    "file system": _delete_file_system,
    "log group": lambda account, left: account.client("logs").delete_log_group(logGroupName=left.name),
    "layer": lambda account, left: account.client("lambda").delete_layer_version(
        LayerName=left.name, VersionNumber=int(left.part)
    ),
    "backup": _delete_backup,
    "uploads of sam": lambda account, left: Bucket(account, left.name).remove_all(left.part),
}
