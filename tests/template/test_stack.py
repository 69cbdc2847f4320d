"""The translated template, created as a stack in moto: table, mappings, queues and outputs as the code expects them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from fakes import dynamodb_table
from template.stack_template import REGION, STACK, create_stack, functions, resources, translated

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning")

UNKNOWN_TO_MOTO = {
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Stage",
    "AWS::CloudWatch::Alarm",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
}


@pytest.fixture(scope="module")
def stack() -> Iterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        yield create_stack()


def outputs(stack: dict[str, Any]) -> dict[str, str]:
    return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}


def test_the_stack_is_created_whole(stack: dict[str, Any]) -> None:
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    summaries = boto3.client("cloudformation").list_stack_resources(StackName=STACK)["StackResourceSummaries"]
    made = {one["LogicalResourceId"] for one in summaries}
    conditional = {name for name, one in translated()["Resources"].items() if "Condition" in one}
    missing = {name: one["Type"] for name, one in translated()["Resources"].items() if name not in made | conditional}
    assert set(missing.values()) <= UNKNOWN_TO_MOTO, missing
    assert conditional == {"NoticeSubscription", "Budget"}


def test_every_output_has_a_value(stack: dict[str, Any]) -> None:
    assert all(outputs(stack).values())


def test_every_function_is_there_under_the_name_that_its_output_tells(stack: dict[str, Any]) -> None:
    client = boto3.client("lambda")
    for function in functions():
        name = outputs(stack)[f"{function}Function"]
        found = client.get_function_configuration(FunctionName=name)
        assert found["Handler"] == functions()[function]["Handler"]
        assert found["Runtime"] == "python3.13"
        given = found["Environment"]["Variables"]
        assert given["LAMBDAFIT_TABLE"] == outputs(stack)["TableName"]
        assert not [value for value in given.values() if "${" in str(value)]


def table_facts(description: dict[str, Any]) -> dict[str, Any]:
    """What code relies on, without what differs from table to table."""
    indexes = description.get("GlobalSecondaryIndexes", [])
    return {
        "attributes": sorted((a["AttributeName"], a["AttributeType"]) for a in description["AttributeDefinitions"]),
        "keys": description["KeySchema"],
        "indexes": sorted(((i["IndexName"], i["KeySchema"], i["Projection"]) for i in indexes), key=lambda i: i[0]),
        "stream": description.get("StreamSpecification"),
        "billing": description["BillingModeSummary"]["BillingMode"],
    }


def test_the_table_is_the_one_that_the_store_is_tested_with(stack: dict[str, Any]) -> None:
    client = boto3.client("dynamodb")
    dynamodb_table.create_table(client, "of-the-tests")
    tested, made = (
        client.describe_table(TableName=name)["Table"] for name in ("of-the-tests", outputs(stack)["TableName"])
    )
    assert table_facts(made) == table_facts(tested)
    # moto's CloudFormation leaves the expiry out.
    assert resources("AWS::DynamoDB::Table")["Table"]["TimeToLiveSpecification"] == dynamodb_table.TIME_TO_LIVE


def test_the_stream_and_the_queue_are_mapped_to_conduct_and_monitor(stack: dict[str, Any]) -> None:
    mappings = boto3.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    found = sorted((m["FunctionArn"].rpartition(":")[2], m["EventSourceArn"].split(":")[2]) for m in mappings)
    assert found == [("lambdafit-conduct", "dynamodb"), ("lambdafit-conduct", "sqs"), ("lambdafit-monitor", "dynamodb")]
    assert all(m["State"] == "Enabled" for m in mappings)


def test_the_bucket_is_private_encrypted_and_versioned(stack: dict[str, Any]) -> None:
    client, bucket = boto3.client("s3"), outputs(stack)["BucketName"]
    blocked = resources("AWS::S3::Bucket")["Bucket"]["PublicAccessBlockConfiguration"]  # moto leaves these two out
    assert len(blocked) == 4
    assert resources("AWS::S3::Bucket")["Bucket"]["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(blocked.values()) == {True}
    (rule,) = client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_failed_invocations_that_nobody_can_handle_go_to_the_dead_letters(stack: dict[str, Any]) -> None:
    client = boto3.client("sqs")
    queues = [outputs(stack)[name] for name in ("FailedInvocationsQueueUrl", "DeadLettersQueueUrl")]
    failed, dead = (client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"] for url in queues)
    assert dead["QueueArn"] in failed["RedrivePolicy"]
