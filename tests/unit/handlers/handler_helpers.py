"""What the tests of the functions share: a context, recorded invocations, runs, and samples of events."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from contracts.errors import LambdafitError
from contracts.records import Run, Task
from contracts.settings import make_settings
from fakes.memory_files import MemoryFiles
from fakes.memory_store import MemoryStore
from runs.code_version import code_version
from runs.services import Services
from stores.dynamodb_items import round_item, run_item, task_item

EVENTS = Path(__file__).parents[3] / "events"
RUN_ID = "r-7f3a9c01b2"
NOW = 1_790_000_100.0
TABLE_ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/lambdafit/stream/2026-10-01T00:00:00.000"

VARIABLES = {
    "LAMBDAFIT_TABLE": "lambdafit",
    "LAMBDAFIT_STACK": "lambdafit-test",
    "LAMBDAFIT_TRAIN_FUNCTION": "lambdafit-train",
    "LAMBDAFIT_COMBINE_FUNCTION": "arn:aws:lambda:us-east-1:000000000000:function:lambdafit-combine",
    "LAMBDAFIT_PREPARE_FUNCTION": "lambdafit-prepare",
    "LAMBDAFIT_PREDICT_FUNCTION": "lambdafit-predict",
    "AWS_REGION": "us-east-1",
}


def sample(name: str) -> dict[str, Any]:
    """An event of the folder `events/`."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


@dataclass
class Context:
    """Lambda's context object."""

    aws_request_id: str = "c0ffee00-1111-4222-8333-444455556666"
    function_name: str = "lambdafit-test"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:000000000000:function:lambdafit-test"
    remaining_ms: int = 60_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@dataclass
class Invocations:
    """Implements Invoker: remembers what was sent; refuses as long as `refusal` says so."""

    sent: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    refusal: LambdafitError | None = None
    warmed_up: list[tuple[str, int]] = field(default_factory=list)

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.sent.append((function, event))

    def invoke_all(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[LambdafitError | None]:
        if self.refusal is None:
            self.sent += calls
        return [self.refusal for _ in calls]

    def warm_up(self, run_id: str, environments: int) -> None:
        self.warmed_up.append((run_id, environments))

    def take(self) -> list[tuple[str, Mapping[str, Any]]]:
        sent, self.sent = self.sent, []
        return sent


@dataclass
class Hands:
    """A clock that the test sets, and names that it can foretell."""

    now_s: float = NOW
    drawn: int = 0

    def now(self) -> float:
        return self.now_s

    def nonce(self) -> str:
        self.drawn += 1
        return f"{self.drawn:016x}"

    def run_id(self) -> str:
        return f"r-{self.nonce()}"


def fake_services(store: MemoryStore | None = None) -> Services:
    """All ports in memory."""
    store = store or MemoryStore()
    hands = Hands()
    return Services(store, store, MemoryFiles(), Invocations(), hands, hands)


def make_run(run_id: str = RUN_ID, **changes: Any) -> Run:
    """A run of two workers that has just been created."""
    settings = make_settings(
        {
            "recipe": "digits-mlp",
            "recipe_name": "digits-mlp",
            "recipe_digest": "0",
            "dataset": "digits",
            "workers": 2,
            "batch_size": 32,
            "rounds": 2,
            "concurrency": 2,
        }
    )
    values = {
        "run_id": run_id,
        "settings": settings,
        "code_version": code_version(),
        "created_at": NOW - 10,
        "deadline_at": NOW + 86_000,
    }
    return Run(**(values | changes))


def stream_record(record: Any, number: int, *, run_id: str = RUN_ID, name: str = "MODIFY") -> dict[str, Any]:
    """A record of the stream as the table's writes make it."""
    if isinstance(record, Run):
        image = run_item(record)
    elif isinstance(record, Task):
        image = task_item(run_id, record)
    else:
        image = round_item(run_id, record)
    return image_record(image, number, name=name)


def image_record(image: Mapping[str, Any], number: int, *, name: str = "MODIFY") -> dict[str, Any]:
    """A record of the stream with any item in it."""
    body: dict[str, Any] = {"SequenceNumber": str(number), "StreamViewType": "NEW_IMAGE"}
    if name != "REMOVE":
        body["NewImage"] = copy.deepcopy(dict(image))
    return {
        "eventID": f"{number:032x}",
        "eventName": name,
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": body,
        "eventSourceARN": TABLE_ARN,
    }


def queue_record(body: Mapping[str, Any] | str, message_id: str) -> dict[str, Any]:
    """A message of the queue of failed invocations."""
    text = body if isinstance(body, str) else msgspec.json.encode(body).decode()
    return {"messageId": message_id, "body": text, "eventSource": "aws:sqs"}


def failed_names(answer: Mapping[str, Any]) -> list[str]:
    """The records that are to be delivered again, in the order of the answer."""
    assert set(answer) == {"batchItemFailures"}
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def refused(code: str, status: int, message: str = "no") -> ClientError:
    """What boto3 raises where AWS says no."""
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Operation")
