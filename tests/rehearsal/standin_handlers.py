"""Functions of `standin_template.yaml`: they do what their event says, and note what they saw in the table."""

from __future__ import annotations

import json
import os
import time
from functools import cache
from typing import Any


@cache
def _table() -> Any:
    import boto3

    return boto3.client("dynamodb")


def _note(what: str, number: object, text: str = "") -> None:
    item = {"pk": {"S": what}, "sk": {"S": str(number)}, "text": {"S": text}}
    _table().put_item(TableName=os.environ["TABLE"], Item=item)


def work(event: dict[str, Any], context: Any) -> Any:
    """Echoes, fails, dies, takes its time or answers at length."""
    match event.get("do"):
        case "raise":
            raise ValueError(event["text"])
        case "die":
            os._exit(7)
        case "sleep":
            _note("asleep", context.aws_request_id)
            time.sleep(event["s"])  # it is the handler that takes long, not the test
        case "answer":
            return "x" * event["characters"]
        case "count":
            _note("count", f"{context.aws_request_id}-{time.time_ns()}")
            raise RuntimeError("counted")
    return {"greeting": os.environ["GREETING"], "event": event, "shared": os.environ.get("LAMBDAFIT_SHARED", "")}


def listen(event: dict[str, Any], _context: Any) -> Any:
    """Notes each record and message; fails on those that say so."""
    if "routeKey" in event:
        return {"statusCode": 201, "body": json.dumps({"name": event["pathParameters"]["name"], "body": event["body"]})}
    failures = []
    for record in event["Records"]:
        if record["eventSource"] == "aws:sqs":
            body = json.loads(record["body"])
            _note("message", record["messageId"], record["body"])
            if body.get("refuse"):
                failures.append({"itemIdentifier": record["messageId"]})
            continue
        image = record["dynamodb"]["NewImage"]
        if image["do"]["S"] == "raise":
            raise ValueError("poison")
        if image["do"]["S"] == "report":
            failures.append({"itemIdentifier": record["dynamodb"]["SequenceNumber"]})
            continue
        _note("heard", image["sk"]["S"], str(len(event["Records"])))
    return {"batchItemFailures": failures}


def tick(event: dict[str, Any], _context: Any) -> None:
    """Notes that it was called."""
    _note("tick", time.time_ns(), json.dumps(event))
