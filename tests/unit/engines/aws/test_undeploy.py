"""Taking a stack away: everything goes, and what does not is named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from contracts.stack_errors import AccessDenied, AwsRefused, UndeployIncomplete
from engines.aws import AwsEngine
from engines.aws_stack import leftovers
from engines.aws_stack.account import Account
from engines.aws_stack.leftovers import Left
from engines.aws_stack.sam import find_template
from engines.aws_stack.stack import describe, newest_deleted
from engines.aws_stack.undeploy import Resource, Undeployment
from fakes.deployed_stack import NAME, REGION, DeployedStack, client_error


class Backups:
    """boto3's client of AWS Backup, as far as it is used."""

    def __init__(self) -> None:
        self.points: dict[str, list[str]] = {}
        self.forbidden = False

    def get_paginator(self, name: str) -> Any:
        assert name == "list_recovery_points_by_resource"
        return self

    def paginate(self, ResourceArn: str) -> Iterator[dict[str, Any]]:  # noqa: N803 - boto3's own names
        points = self.points.get(ResourceArn.rpartition("/")[2], [])
        yield {"RecoveryPoints": [{"RecoveryPointArn": point, "BackupVaultName": "efs"} for point in points]}

    def describe_recovery_point(self, BackupVaultName: str, RecoveryPointArn: str) -> dict[str, Any]:  # noqa: N803
        if not any(RecoveryPointArn in points for points in self.points.values()):
            raise client_error("ResourceNotFoundException", "DescribeRecoveryPoint")
        return {}

    def delete_recovery_point(self, BackupVaultName: str, RecoveryPointArn: str) -> None:  # noqa: N803
        if self.forbidden:
            raise client_error("AccessDeniedException", "DeleteRecoveryPoint")
        self.points = {
            name: [point for point in points if point != RecoveryPointArn] for name, points in self.points.items()
        }


@pytest.fixture
def backups(monkeypatch: pytest.MonkeyPatch) -> Backups:
    fake, real = Backups(), Account.client
    monkeypatch.setattr(Account, "client", lambda self, service: fake if service == "backup" else real(self, service))
    return fake


class Taken:
    """An undeployment, what it said, and a clock that does not wait."""

    def __init__(self) -> None:
        self.account = Account()
        self.said: list[str] = []
        self.slept: list[float] = []
        description = describe(self.account, NAME) or newest_deleted(self.account, NAME)
        assert description is not None
        self.work = Undeployment(
            self.account, description, self.said.append, sleep=self.slept.append, now=lambda: sum(self.slept)
        )


@pytest.fixture
def taken(stack: DeployedStack, backups: Backups) -> Taken:
    return Taken()


def test_everything_goes(stack: DeployedStack, taken: Taken, engine: AwsEngine) -> None:
    run_id = stack._start({"recipe": "digits-mlp", "overrides": {}, "run_id": "r-0001", "workers": 2})["run_id"]
    for body in (b"1", b"2"):
        stack.put("datasets/a", body)
    stack.s3.delete_object(Bucket=stack.bucket, Key="datasets/a")
    logs = boto3.client("logs", region_name=REGION)
    logs.create_log_group(logGroupName=f"/aws/lambda/{NAME}-sweep")
    others = [f"/aws/lambda/{NAME}-dev-sweep", f"/aws/lambda/{NAME}two-sweep"]
    for other in others:
        logs.create_log_group(logGroupName=other)
    assert taken.work.stop_runs() == 1
    assert stack.store.load_run(run_id).status == "CANCELLED"
    assert taken.work.empty_buckets() == 5  # two versions and a deletion of datasets/a, and the libraries
    taken.work.delete_stack()
    assert taken.work.remove_leftovers() == []
    assert describe(taken.account, NAME) is None
    assert sorted(group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]) == others
    assert boto3.client("s3", region_name=REGION).list_buckets()["Buckets"] == []
    assert f"Removed log group /aws/lambda/{NAME}-sweep" in taken.said


def test_what_a_deletion_left_is_removed_later(stack: DeployedStack, backups: Backups) -> None:
    Taken().work.empty_buckets()
    stack.cloudformation.delete_stack(StackName=NAME)
    boto3.client("logs", region_name=REGION).create_log_group(logGroupName=f"/aws/lambda/{NAME}-sweep")
    later = Taken()
    assert later.work.remove_leftovers() == []
    assert f"Removed log group /aws/lambda/{NAME}-sweep" in later.said


def test_sams_uploads_of_this_stack_go_and_of_others_stay(stack: DeployedStack, taken: Taken) -> None:
    stack.s3.create_bucket(Bucket="sams")
    for key in (f"{NAME}/code", f"{NAME}-dev/code"):
        stack.s3.put_object(Bucket="sams", Key=key, Body=b"zip")
    stack.cloudformation.create_stack(
        StackName=leftovers.SAM_STACK,
        TemplateBody='{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},'
        ' "Outputs": {"SourceBucket": {"Value": "sams"}}}',
    )
    taken.work.empty_buckets()
    taken.work.delete_stack()
    assert taken.work.remove_leftovers() == []
    assert [item["Key"] for item in stack.s3.list_objects_v2(Bucket="sams")["Contents"]] == [f"{NAME}-dev/code"]


def test_backups_of_the_file_system(stack: DeployedStack, taken: Taken, backups: Backups) -> None:
    backups.points = {"fs-1": ["arn:point-1"]}
    taken.work._recovery_points = leftovers.recovery_points(taken.account, taken.work.stack_id, ["fs-1"])
    assert taken.work._recovery_points == [Left("backup", "arn:point-1", "efs")]
    taken.work.empty_buckets()
    taken.work.delete_stack()
    backups.forbidden = True
    assert taken.work.remove_leftovers() == [Left("backup", "arn:point-1", "efs")]
    assert "the access policy of the vault efs forbids" in taken.said[-1]
    backups.forbidden = False
    assert taken.work.remove_leftovers() == []


def test_a_retained_table_and_bucket_are_removed(stack: DeployedStack) -> None:
    account = Account()
    for left in (Left("table", "lambdafit-table"), Left("bucket", "lambdafit-bucket")):
        assert leftovers.exists(account, left)
        leftovers.remove(account, left)
        assert not leftovers.exists(account, left)
        leftovers.remove(account, left)  # once more is no error


def test_a_file_system_goes_with_its_mount_targets(stack: DeployedStack) -> None:
    account, efs = Account(), boto3.client("efs", region_name=REGION)
    ec2 = boto3.client("ec2", region_name=REGION)
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    file_system = efs.create_file_system(CreationToken="t")["FileSystemId"]
    efs.create_mount_target(FileSystemId=file_system, SubnetId=subnet)
    left = Left("file system", file_system)
    assert leftovers.exists(account, left)
    leftovers.remove(account, left)
    assert not leftovers.exists(account, left)


def test_network_interfaces_that_nobody_uses_are_deleted(stack: DeployedStack) -> None:
    ec2 = boto3.client("ec2", region_name=REGION)
    subnet = ec2.describe_subnets()["Subnets"][0]
    interface = ec2.create_network_interface(SubnetId=subnet["SubnetId"])["NetworkInterface"]["NetworkInterfaceId"]
    assert leftovers.release_interfaces(Account(), subnet["VpcId"]) == 0
    left = ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert interface not in [one["NetworkInterfaceId"] for one in left]


class Stubborn:
    """A CloudFormation that cannot delete some resources for a while."""

    def __init__(self, work: Undeployment, failures: int) -> None:
        self.work = work
        self.failures = failures
        self.made_way: list[str] = []

    def wait(self) -> tuple[str, str]:
        self.failures -= 1
        return ("DELETE_FAILED", "in use.") if self.failures >= 0 else ("DELETE_COMPLETE", "")

    def resources(self) -> list[Resource]:
        return [Resource("Mounts", "AWS::EC2::SecurityGroup", "sg-1", "DELETE_FAILED")]


@pytest.mark.parametrize("failures", [2, 99])
def test_network_interfaces_are_waited_for(taken: Taken, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    stubborn = Stubborn(taken.work, failures)
    monkeypatch.setattr(taken.work, "_wait", stubborn.wait)
    monkeypatch.setattr(taken.work, "_list", stubborn.resources)
    taken.work.resources.append(Resource("Network", "AWS::EC2::VPC", "vpc-1", ""))
    in_use = iter([3, 1] + [0] * 10)
    monkeypatch.setattr(leftovers, "release_interfaces", lambda _account, _vpc: next(in_use))
    if failures == 2:
        taken.work.delete_stack()
        assert "Waiting for Lambda to let go of 3 network interfaces" in taken.said
        assert len(taken.slept) == 2
    else:
        with pytest.raises(UndeployIncomplete, match=r"could not delete Mounts \(AWS::EC2::SecurityGroup\): in use"):
            taken.work.delete_stack()


def test_what_cannot_be_removed_for_want_of_rights_is_named(taken: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(account: Account, left: Left) -> None:
        raise AccessDenied(str(left), "you may not")

    monkeypatch.setattr(leftovers, "remove", refuse)
    left = taken.work.remove_leftovers()
    assert {one.kind for one in left} == {"table", "bucket", "log group"}
    assert "Could not remove table lambdafit-table: table lambdafit-table: you may not." in taken.said


def test_objects_that_s3_refuses_to_delete_are_an_error(engine: AwsEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"Errors": [{"Key": "a", "Code": "AccessDenied", "Message": "locked"}]}
    monkeypatch.setattr(engine.bucket._client, "delete_objects", lambda **_: answer)
    with pytest.raises(AwsRefused, match="s3://lambdafit-bucket/a: AccessDenied: locked"):
        engine.bucket.remove_all()


def test_the_functions_of_the_template_are_those_whose_logs_go() -> None:
    names = re.findall(r"FunctionName: !Sub \$\{AWS::StackName\}-([\w-]+)", find_template().read_text())
    assert sorted(names) == sorted(leftovers.FUNCTIONS)
