"""The stand-in behaves as Lambda, its event source mappings and DynamoDB do, as far as the rehearsals need it."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from rehearsal.cloud import Cloud, FunctionFailed

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with stand_in(tmp_path_factory.mktemp("stand-in")) as up:
        yield up


def stand_in(folder: Path, **more: Any) -> Cloud:
    settings = {"environments": {"Work": 2}, "python_path": str(HERE), "sweep_s": 0.2, "speed": 100.0}
    return Cloud(folder, HERE / "standin_template.yaml", stack="stand-in", **{**settings, **more})


def items(cloud: Cloud, partition: str) -> list[dict[str, str]]:
    found = cloud.client("dynamodb").query(
        TableName=cloud.outputs["TableName"],
        KeyConditionExpression="pk = :p",
        ExpressionAttributeValues={":p": {"S": partition}},
        ConsistentRead=True,
    )["Items"]
    return [{name: next(iter(value.values())) for name, value in item.items()} for item in found]


def put(cloud: Cloud, name: str, **attributes: str) -> None:
    item = {"pk": "written", "sk": name, **attributes}
    cloud.client("dynamodb").put_item(
        TableName=cloud.outputs["TableName"], Item={key: {"S": value} for key, value in item.items()}
    )


def test_functions_get_what_the_template_says(cloud: Cloud) -> None:
    assert cloud.invoke("Work", {"some": 1}) == {"greeting": "hello from stand-in", "event": {"some": 1}, "shared": ""}
    assert cloud.outputs["WorkFunction"] == cloud.model.functions["Work"].name
    assert cloud.model.skipped["Network"] == "AWS::EC2::VPC"
    stack = cloud.client("cloudformation").describe_stacks(StackName="stand-in")["Stacks"][0]
    assert {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]} == dict(cloud.outputs)


def test_what_goes_wrong_in_a_function_is_told_as_lambda_tells_it(cloud: Cloud) -> None:
    for event, kind, text in [
        ({"do": "raise", "text": "boo"}, "ValueError", "boo"),
        ({"do": "die"}, "Runtime.ExitError", "Runtime exited with error: exit status 7"),
        ({"do": "sleep", "s": 30}, "Sandbox.Timedout", "Task timed out after 6.00 seconds"),
        ({"do": "answer", "characters": 6_291_600}, "Function.ResponseSizeTooLarge", "exceeded"),
    ]:
        with pytest.raises(FunctionFailed) as caught:
            cloud.invoke("Work", event)
        told = json.loads(str(caught.value))
        assert told["errorType"] == kind and text in told["errorMessage"]


@pytest.mark.parametrize(
    ("name", "kind", "size", "status", "code"),
    [
        ("nobody", "RequestResponse", 0, 404, "ResourceNotFoundException"),
        ("nobody", "Event", 0, 404, "ResourceNotFoundException"),
        ("", "RequestResponse", 6 * 2**20, 413, "RequestTooLargeException"),
        ("", "Event", 2**20, 413, "RequestTooLargeException"),
    ],
)
def test_what_the_api_refuses(cloud: Cloud, name: str, kind: str, size: int, status: int, code: str) -> None:
    function = name or cloud.outputs["WorkFunction"]
    with pytest.raises(ClientError) as caught:
        cloud.client("lambda").invoke(FunctionName=function, InvocationType=kind, Payload=json.dumps("x" * size))
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_reserved_concurrency_refuses_what_is_over_it(tmp_path: Path) -> None:
    with stand_in(tmp_path, parameters={"Ceiling": "1"}, sweep_s=1000.0) as cloud, ThreadPoolExecutor(1) as pool:
        name = cloud.outputs["WorkFunction"]
        first = pool.submit(cloud.invoke, "Work", {"do": "sleep", "s": 1})
        cloud.wait_for(lambda: items(cloud, "asleep"))
        with pytest.raises(ClientError, match="TooManyRequestsException"):
            cloud.invoke("Work", {})
        first.result()
        assert cloud.invoke("Work", {"some": 1})["event"] == {"some": 1}
        cloud.client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        cloud.invoke("Work", {"some": 2}, wait=False)
        record = cloud.wait_for(lambda: items(cloud, "message"))[0]
        context = json.loads(record["text"])["requestContext"]
        assert (context["condition"], context["approximateInvokeCount"]) == ("EventAgeExceeded", 0)
        cloud.client("lambda").delete_function_concurrency(FunctionName=name)
        assert cloud.invoke("Work", {"some": 3})["event"] == {"some": 3}
    assert not [pid for pid in cloud.environments.pids() if psutil.pid_exists(pid)]


def test_an_asynchronous_failure_is_tried_again_and_then_goes_to_its_destination(cloud: Cloud) -> None:
    before = {one["sk"] for one in items(cloud, "message")}
    cloud.invoke("Work", {"do": "count"}, wait=False)
    (record,) = cloud.wait_for(lambda: [one for one in items(cloud, "message") if one["sk"] not in before])
    told = json.loads(record["text"])
    assert told["requestPayload"] == {"do": "count"}
    assert told["requestContext"]["condition"] == "RetriesExhausted"
    assert told["requestContext"]["approximateInvokeCount"] == 2
    assert told["requestContext"]["functionArn"].endswith(f"function:{cloud.outputs['WorkFunction']}:$LATEST")
    assert told["responsePayload"]["errorMessage"] == "counted"
    assert told["responseContext"]["functionError"] == "Unhandled"
    tries = {one["sk"].rpartition("-")[0] for one in items(cloud, "count")}
    assert tries == {told["requestContext"]["requestId"]}, "each try bears the request id of the event"


def test_a_stream_brings_what_passes_the_filter_and_poison_goes_to_the_queue(cloud: Cloud) -> None:
    for number in range(25):
        do = {5: "raise", 17: "report"}.get(number, "note")
        put(cloud, f"r{number:02}", kind="heard", do=do)
        put(cloud, f"r{number:02}-not", kind="other", do="note")
    cloud.wait_for(lambda: len(items(cloud, "heard")) == 23)
    assert [one["sk"] for one in items(cloud, "heard")] == [f"r{n:02}" for n in range(25) if n not in (5, 17)]
    lost: list[dict[str, Any]] = []
    cloud.wait_for(lambda: lost.extend(cloud.messages(cloud.outputs["UnheardUrl"])) or len(lost) == 2, service="sqs")
    for record in lost:
        assert record["requestContext"]["condition"] == "RetryAttemptsExhausted"
        assert record["requestContext"]["approximateInvokeCount"] == 2
        batch = record["DDBStreamBatchInfo"]
        assert batch["batchSize"] == 1 and batch["startSequenceNumber"] == batch["endSequenceNumber"]
    assert max(int(one["text"]) for one in items(cloud, "heard")) > 1, "records come in batches"


def test_a_message_that_is_refused_again_and_again_goes_to_the_dead_letters(cloud: Cloud) -> None:
    queues = cloud.client("sqs")
    for body in ({"refuse": True}, {"refuse": False}):
        queues.send_message(QueueUrl=cloud.outputs["FailedUrl"], MessageBody=json.dumps(body))
    dead: list[dict[str, Any]] = []
    cloud.wait_for(lambda: dead.extend(cloud.messages(cloud.outputs["DeadUrl"])) or dead, service="sqs")
    assert dead == [{"refuse": True}]


def test_a_schedule_calls_its_function(cloud: Cloud) -> None:
    ticks = cloud.wait_for(lambda: items(cloud, "tick"))
    assert json.loads(ticks[0]["text"]) == {"tick": True}


def test_the_http_api_wants_a_signature_and_hands_routes_to_functions(cloud: Cloud) -> None:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    url = f"{cloud.outputs['ApiUrl']}/things/a%20b"
    unsigned = urllib.request.Request(url, data=b'{"a": 1}', method="POST")  # noqa: S310
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(unsigned, timeout=10)  # noqa: S310
    assert caught.value.code == 403
    request = AWSRequest("POST", url, data=b'{"a": 1}')
    SigV4Auth(Credentials("rehearsal-user", "rehearsal"), "execute-api", "us-east-1").add_auth(request)
    signed = urllib.request.Request(url, data=b'{"a": 1}', method="POST", headers=dict(request.headers))  # noqa: S310
    with urllib.request.urlopen(signed, timeout=10) as answer:  # noqa: S310
        assert answer.status == 201
        assert json.loads(answer.read()) == {"name": "a b", "body": '{"a": 1}'}


def test_no_concurrent_conditional_update_is_lost(cloud: Cloud) -> None:
    table, writers, each = cloud.outputs["TableName"], 8, 10
    key = {"pk": {"S": "counter"}, "sk": {"S": "1"}}
    client = cloud.client("dynamodb")
    client.put_item(TableName=table, Item={**key, "n": {"N": "0"}, "sum": {"N": "0"}})

    def count(_writer: int) -> int:
        saved = 0
        while saved < each:
            seen = client.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]["n"]["N"]
            try:
                client.update_item(
                    TableName=table,
                    Key=key,
                    UpdateExpression="SET n = :next ADD #s :one",
                    ConditionExpression="n = :seen",
                    ExpressionAttributeNames={"#s": "sum"},
                    ExpressionAttributeValues={
                        ":next": {"N": str(int(seen) + 1)},
                        ":seen": {"N": seen},
                        ":one": {"N": "1"},
                    },
                )
                saved += 1
            except client.exceptions.ConditionalCheckFailedException:
                continue
        return saved

    with ThreadPoolExecutor(writers) as pool:
        assert sum(pool.map(count, range(writers))) == writers * each
    item = client.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
    assert (item["n"]["N"], item["sum"]["N"]) == (str(writers * each),) * 2


def test_a_failed_transaction_leaves_nothing_and_the_stream_goes_on(cloud: Cloud) -> None:
    table, client = cloud.outputs["TableName"], cloud.client("dynamodb")
    stream = client.describe_table(TableName=table)["Table"]["LatestStreamArn"]
    streams = cloud.client("dynamodbstreams")
    shard = streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = streams.get_shard_iterator(StreamArn=stream, ShardId=shard, ShardIteratorType="LATEST")["ShardIterator"]

    def write(name: str) -> dict[str, Any]:
        return {"Put": {"TableName": table, "Item": {"pk": {"S": "both"}, "sk": {"S": name}}}}

    missing = {"pk": {"S": "both"}, "sk": {"S": "missing"}}
    check = {"ConditionCheck": {"TableName": table, "Key": missing, "ConditionExpression": "attribute_exists(pk)"}}
    with pytest.raises(client.exceptions.TransactionCanceledException) as caught:
        client.transact_write_items(TransactItems=[write("a"), check])
    assert [one["Code"] for one in caught.value.response["CancellationReasons"]] == ["None", "ConditionalCheckFailed"]
    assert items(cloud, "both") == []
    client.transact_write_items(TransactItems=[write("b"), write("c")])
    records = streams.get_records(ShardIterator=iterator)["Records"]
    names = [one["dynamodb"]["Keys"]["sk"]["S"] for one in records if one["dynamodb"]["Keys"]["pk"]["S"] == "both"]
    assert names == ["b", "c"], "nothing of the failed one, and an iterator from before sees what comes after it"


def test_calls_are_recorded_by_who_made_them(cloud: Cloud) -> None:
    test_functions_get_what_the_template_says(cloud)
    found = {(call["function"], call["action"], call["resource"].rpartition(":")[2]) for call in cloud.calls()}
    table = f"table/{cloud.outputs['TableName']}"
    assert ("stand-in", "lambda:InvokeFunction", cloud.outputs["WorkFunction"]) in found
    assert ("Tick", "dynamodb:PutItem", table) in found
    assert any(who == "Listen" and action == "dynamodb:GetRecords" for who, action, _ in found)


def test_nothing_is_left_when_it_fails_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)}
    monkeypatch.setattr(Cloud, "_start_mappings", lambda _self: 1 / 0)
    with pytest.raises(ZeroDivisionError), stand_in(tmp_path):
        pass
    assert {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)} <= before
