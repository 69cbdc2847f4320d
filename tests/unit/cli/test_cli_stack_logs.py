"""`logs` and `data` against a deployed stack."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from cli_helpers import finished, interrupted, last_line, start_in_stack, versioned
from msgspec.structs import replace

from contracts.records import Claim, Task, TaskKey
from fakes.deployed_stack import NAME, REGION, DeployedStack

CLOUD = ("--engine", "aws")
BEGAN_AT = float(int(time.time()) - 600)
"""CloudWatch takes no lines that are older than two weeks."""


# --- logs --------------------------------------------------------------------------------------------------


class CloudLogs:
    """Writes as Lambda does."""

    def __init__(self) -> None:
        self.client = boto3.client("logs", region_name=REGION)

    def write(self, function: str, stream: str, request: str, *lines: str, at_ms: int = 1_000_500) -> None:
        group = f"/aws/lambda/{NAME}-{function}"
        groups = [one["logGroupName"] for one in self.client.describe_log_groups()["logGroups"]]
        if group not in groups:
            self.client.create_log_group(logGroupName=group)
        streams = self.client.describe_log_streams(logGroupName=group)["logStreams"]
        if stream not in [one["logStreamName"] for one in streams]:
            self.client.create_log_stream(logGroupName=group, logStreamName=stream)
        texts = [f"START RequestId: {request} Version: $LATEST", *lines, f"REPORT RequestId: {request}\tDuration: 1"]
        events = [{"timestamp": at_ms + index, "message": f"{text}\n"} for index, text in enumerate(texts)]
        self.client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def of_worker(stack: DeployedStack, run_id: str, worker: int, request: str) -> None:
    claim = Claim(nonce="0" * 8, request_id=request, attempt=1, claimed_at=1_000.0, expires_at=2_000.0)
    key = TaskKey(round_index=1, kind="train", index=worker)
    assert stack.store.save_task(run_id, Task(key=key, version=1, status="CLAIMED", attempt=1, claim=claim))


@pytest.fixture
def logs(stack: DeployedStack, monkeypatch: pytest.MonkeyPatch) -> CloudLogs:
    """Two runs at work in the same environments; their lines of a time that moto keeps."""
    monkeypatch.setattr("fakes.deployed_stack.CREATED_AT", BEGAN_AT)
    for run_id in ("r-0001", "r-0002"):
        start_in_stack(stack, run_id, lambda run: replace(interrupted(run), started_at=BEGAN_AT))
    of_worker(stack, "r-0001", 0, "request-a")
    of_worker(stack, "r-0001", 1, "request-b")
    of_worker(stack, "r-0002", 0, "request-c")
    found = CloudLogs()
    at_ms = int(BEGAN_AT * 1000)
    found.write("train", "2026/x", "request-a", '{"run_id": "r-0001"}', "of worker 0", at_ms=at_ms + 1000)
    found.write("train", "2026/x", "request-c", '{"run_id": "r-0002"}', "of another run", at_ms=at_ms + 2000)
    found.write("train", "2026/y", "request-b", '{"run_id": "r-0001"}', "of worker 1", at_ms=at_ms + 1500)
    found.write("conduct", "2026/z", "request-d", "reconciled r-0001", at_ms=at_ms + 3000)
    return found


def test_logs_of_a_run_are_those_of_its_requests(invoke: Any, logs: CloudLogs) -> None:
    result = invoke("logs", "r-0001", *CLOUD)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "train-01  of worker 0" in lines
    assert "train-02  of worker 1" in lines
    assert "conduct-01  reconciled r-0001" in lines
    assert not any("another run" in line or "request-c" in line for line in lines)


def test_logs_of_one_worker_of_the_stack(invoke: Any, logs: CloudLogs) -> None:
    lines = invoke("logs", "r-0001", "--worker", "1", *CLOUD).stdout.splitlines()
    assert "of worker 1" in lines[2]
    assert len(lines) == 4
    assert "has printed nothing" in invoke("logs", "r-0002", "--worker", "1", *CLOUD).stderr


def test_logs_are_followed_until_the_run_has_ended(
    invoke: Any, stack: DeployedStack, logs: CloudLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        slept.append(seconds)
        if len(slept) == 1:
            at_ms = int(BEGAN_AT * 1000) + 2_500
            logs.write("train", "2026/y", "request-b", "r-0001 again", "late words", at_ms=at_ms)
            run = stack.store.load_run("r-0001")
            assert stack.store.save_run(replace(versioned(finished)(run), ended_at=BEGAN_AT + 10))

    monkeypatch.setattr("cli.log_screen.time", SimpleNamespace(sleep=sleep, monotonic=lambda: clock[0]))
    lines = invoke("logs", "r-0001", "-f", *CLOUD).stdout.splitlines()
    assert lines.count("train-02  late words") == 1
    assert lines.count("train-02  of worker 1") == 1
    assert clock[0] > 10


# --- data --------------------------------------------------------------------------------------------------


def test_data_is_pushed_and_listed(invoke: Any, stack: DeployedStack) -> None:
    assert "No data sets yet" in invoke("data", "list").stdout
    result = invoke("data", "push", "digits")
    assert result.exit_code == 0, result.output
    assert "digits is in stack lambdafit in us-east-1: 1,293 + 144 + 360 examples" in result.stdout
    (found,) = last_line(invoke("data", "list", "--json"))["datasets"]
    assert (found["name"], found["train_examples"], found["x_shape"]) == ("digits", 1293, [8, 8])
    assert "8×8" in invoke("data", "list").stdout
    assert json.loads(stack.s3.get_object(Bucket=stack.bucket, Key="datasets/digits.json")["Body"].read())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nothing"], "E105 DataNotFound: data set: 'nothing' is neither built in nor a folder"),
        (["digits", "--name", "mine"], "E102 InvalidSetting: --name"),
        (["."], "E105 DataNotFound"),
        ([".", "--name", "../x"], "E102 InvalidSetting: --name"),
    ],
)
def test_data_that_is_none(invoke: Any, stack: DeployedStack, arguments: list[str], text: str) -> None:
    result = invoke("data", "push", *arguments)
    assert result.exit_code == 3
    assert text in result.stderr
    assert stack.objects("datasets/") == []
