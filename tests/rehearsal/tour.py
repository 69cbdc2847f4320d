"""What people and Lambda do with a stack beside training: so that each permission of the template is needed once."""

from __future__ import annotations

import base64
import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from contracts.records import Run
from rehearsal.cloud import REGION, Cloud
from rehearsal.whole_runs import WholeRuns

SWEEP_S = 0.3
LANDMARKS = frozenset(
    (
        ("Monitor", "sns:Publish"),
        ("Sweep", "lambda:InvokeFunction"),
        ("StartRun", "dynamodb:BatchGetItem"),
        ("Conduct", "dynamodb:BatchGetItem"),
        ("Prepare", "dynamodb:BatchGetItem"),
        ("Combine", "dynamodb:BatchGetItem"),
        ("Train", "dynamodb:BatchGetItem"),
        ("Predict", "dynamodb:BatchGetItem"),
        ("Predict", "s3:PutObject"),
    )
)
"""Calls that show, where all of them were recorded, that every function did all that it does."""


def is_complete(calls: Iterable[Mapping[str, Any]]) -> bool:
    """Whether these calls hold all landmarks."""
    return {(call["function"], call["action"]) for call in calls} >= LANDMARKS


def tour(runs: WholeRuns, options: Mapping[str, Any]) -> Run:
    """One run from start to removal, with all that may happen to it. Returns it as it had ended."""
    cloud = runs.cloud
    cloud.switch(on=False)
    cloud.sweep_every(SWEEP_S)
    run_id = runs.start(**options)
    runs.reaches(run_id, 2)
    cloud.sweep_every(None)
    cloud.switch(on=True)
    bare_events(cloud, options["workers"])
    run = runs.end(run_id)
    cloud.wait_for(lambda: any(call["action"] == "sns:Publish" for call in cloud.calls()))
    use_model(runs, run_id, cloud.folder / "model.safetensors")
    assert call_api(cloud, "GET", "/runs?limit=1")[1]["runs"][0]["run_id"] == run_id
    assert call_api(cloud, "GET", f"/runs/{run_id}")[0] == 200
    assert call_api(cloud, "POST", f"/runs/{run_id}/stop")[0] == 200
    return run


def bare_events(cloud: Cloud, workers: int) -> None:
    """Those of the method's first publication, and the death of a worker that had one."""
    cloud.invoke("Train", {"workerno": 1, "workers": workers, "epochsdone": 1})
    cloud.invoke("Train", {"workerno": 1, "workers": workers, "epochsdone": 900})
    cloud.invoke("Combine", {"combine": True, "workers": workers, "epochsdone": 1})
    cloud.invoke("Prepare", {"task": "prepare"})
    seen = cloud.mappings["ConductFailures"].records
    record = {
        "version": "1.0",
        "requestContext": {
            "requestId": "00000000-0000-4000-a000-000000000000",
            "functionArn": f"{cloud.functions.function_arn(cloud.outputs['TrainFunction'])}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"workerno": 1, "workers": workers, "epochsdone": 1},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorType": "Runtime.ExitError", "errorMessage": "Error: Runtime exited"},
    }
    queue = cloud.outputs["FailedInvocationsQueueUrl"]
    cloud.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(record))
    cloud.wait_for(lambda: cloud.mappings["ConductFailures"].records > seen, service="sqs")


def use_model(runs: WholeRuns, run_id: str, target: Path) -> None:
    """Predict, fetch the model and its curves, as people do."""
    picture = {"images_base64": [base64.b64encode(picture_of_a_digit()).decode()]}
    status, seen = call_api(runs.cloud, "POST", f"/runs/{run_id}/predict", picture)
    assert status == 200, seen
    assert 0 <= seen["predictions"][0]["label"] <= 9
    assert runs.cloud.invoke("Predict", {"task": "curves", "name": "rehearsal"})["run_id"] == run_id
    exported = runs.command("export", run_id, "--to", target.suffix[1:], "--output", str(target), "--force")
    assert exported.returncode == 0, exported.stderr
    assert target.stat().st_size > 10_000


def picture_of_a_digit() -> bytes:
    """A PNG: a white stroke on black."""
    from PIL import Image

    picture = Image.new("L", (8, 8))
    for row in range(1, 7):
        picture.putpixel((4, row), 255)
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def call_api(cloud: Cloud, method: str, path: str, body: Any = None, *, signed: bool = True) -> tuple[int, Any]:
    """A request to the stack's HTTP API: status and answer."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    url, data = f"{cloud.outputs['ApiUrl']}{path}", json.dumps(body).encode() if body is not None else b""
    request = AWSRequest(method, url, data=data, headers={"Content-Type": "application/json"})
    if signed:
        SigV4Auth(cloud.credentials(), "execute-api", REGION).add_auth(request)
    asked = urllib.request.Request(url, data=data or None, method=method, headers=dict(request.headers))  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
