"""A deployed stack without AWS: CloudFormation, S3, DynamoDB and logs by moto in this process, Lambda by functions."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import boto3
from botocore.exceptions import ClientError

from contracts.records import Run
from engines.aws_stack.account import Account
from engines.aws_stack.stack import FUNCTIONS
from runs import recipes, start
from runs.code_version import VERSION, code_version
from stores.dynamodb import DynamoStore

NAME = "lambdafit"
REGION = "us-east-1"
CREATED_AT = 1_000.0
Answer = Callable[[Mapping[str, Any]], Any]

KEYS = ("pk", "sk", "listing", "open", "created_at")
TEMPLATE: dict[str, Any] = {
    "AWSTemplateFormatVersion": "2010-09-09",
    "Resources": {
        "Table": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "TableName": f"{NAME}-table",
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [
                    {"AttributeName": key, "AttributeType": "N" if key == "created_at" else "S"} for key in KEYS
                ],
                "KeySchema": [
                    {"AttributeName": "pk", "KeyType": "HASH"},
                    {"AttributeName": "sk", "KeyType": "RANGE"},
                ],
                "GlobalSecondaryIndexes": [
                    {
                        "IndexName": index,
                        "KeySchema": [
                            {"AttributeName": key, "KeyType": "HASH"},
                            {"AttributeName": "created_at", "KeyType": "RANGE"},
                        ],
                        "Projection": {"ProjectionType": "KEYS_ONLY"},
                    }
                    for index, key in (("runs-by-time", "listing"), ("open-runs", "open"))
                ],
                "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
            },
        },
        "Bucket": {
            "Type": "AWS::S3::Bucket",
            "Properties": {"BucketName": f"{NAME}-bucket"},
        },
        "TrainLogs": {
            "Type": "AWS::Logs::LogGroup",
            "Properties": {"LogGroupName": f"/aws/lambda/{NAME}-train"},
        },
    },
}
OUTPUTS: dict[str, Any] = {
    "TableName": {"Ref": "Table"},
    "BucketName": {"Ref": "Bucket"},
    "FileSystemId": "fs-0123456789abcdef0",
    "LibrariesSource": "s3",
    "CodeVersion": VERSION,
    "TrainMemoryMb": "3008",
    "TrainTimeLimitS": "900",
    "WorkersCeiling": "16",
    "Architecture": "x86_64",
    **{output: f"{NAME}-{function}" for function, output in FUNCTIONS.items()},
}


def client_error(code: str, operation: str = "Invoke", message: str = "") -> ClientError:
    """As boto3 raises AWS's refusals."""
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


class FakeLambda:
    """boto3's client of Lambda, as far as it is used; a function is a Python function from event to answer."""

    def __init__(self) -> None:
        self.functions: dict[str, Answer] = {}
        self.invoked: list[tuple[str, dict[str, Any]]] = []
        self.refusals: dict[str, list[ClientError]] = {}
        self.account_limit = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 900}
        self.reserved: int | None = None
        self.mappings = {"conduct": ["Enabled", "Enabled"], "monitor": ["Enabled"]}

    def events(self, function: str) -> list[dict[str, Any]]:
        """What a function was sent, probes left out."""
        return [event for name, event in self.invoked if name == function and "probe" not in event]

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - boto3's own names
        function, event = FunctionName.removeprefix(f"{NAME}-"), json.loads(Payload)
        self.invoked.append((function, event))
        if self.refusals.get(function):
            raise self.refusals[function].pop(0)
        try:
            answer = self.functions[function](event)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises, as Lambda reports it
            report = {"errorType": type(error).__name__, "errorMessage": str(error)}
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(report).encode())}
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}

    def get_account_settings(self) -> dict[str, Any]:
        return {"AccountLimit": self.account_limit}

    def get_function_concurrency(self, FunctionName: str) -> dict[str, Any]:  # noqa: N803
        return {} if self.reserved is None else {"ReservedConcurrentExecutions": self.reserved}

    def list_event_source_mappings(self, FunctionName: str) -> dict[str, Any]:  # noqa: N803
        states = self.mappings.get(FunctionName.removeprefix(f"{NAME}-"), [])
        return {"EventSourceMappings": [{"State": state} for state in states]}


class DeployedStack:
    """A stack as `deploy` leaves it. Its StartRun is the real use case; the other functions answer probes."""

    def __init__(self, lambda_client: FakeLambda, outputs: Mapping[str, Any] = OUTPUTS) -> None:
        self.lambda_ = lambda_client
        self.cloudformation = boto3.client("cloudformation", region_name=REGION)
        self.s3 = boto3.client("s3", region_name=REGION)
        template = TEMPLATE | {"Outputs": {name: {"Value": value} for name, value in outputs.items()}}
        self.cloudformation.create_stack(StackName=NAME, TemplateBody=json.dumps(template))
        self.bucket = f"{NAME}-bucket"
        versioned = {"Status": "Enabled"}  # moto's CloudFormation leaves it out
        self.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration=versioned)
        self.store = DynamoStore(f"{NAME}-table", boto3.client("dynamodb", region_name=REGION))
        self.ending: Callable[[Run], Run] | None = None
        lambda_client.functions = dict.fromkeys(FUNCTIONS, self._answer)
        lambda_client.functions["start"] = self._start
        self.put("libraries/aa.tar.zst", b"archive")
        self.put("libraries/current.json", b'{"digest": "aa", "key": "libraries/aa.tar.zst", "bytes": 7}')

    def put(self, key: str, body: bytes) -> None:
        """An object in the bucket."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def objects(self, prefix: str = "") -> list[str]:
        """What the bucket holds."""
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for item in listed.get("Contents", [])]

    def _answer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        assert event == {"probe": True}
        return {"probe": True, "shared_writable": True, "libraries": "aa", "code_version": code_version()}

    def _start(self, event: Mapping[str, Any]) -> dict[str, Any]:
        options = {name: value for name, value in event.items() if name not in ("run_id", "overrides", "recipe")}
        recipe = recipes.describe(event["recipe"], event["overrides"])
        limits = start.lambda_limits(workers=16, threads=1, time_limit_s=900, memory_mb=3008)
        settings = start.complete_settings(options, recipe, limits)
        run = Run(
            run_id=event["run_id"],
            settings=settings,
            code_version=code_version(),
            created_at=CREATED_AT,
            deadline_at=CREATED_AT + 86_400,
        )
        self.store.create_run(run)
        if self.ending is not None:
            assert self.store.save_run(self.ending(run))
        return {"run_id": run.run_id, "status": run.status, "error": None}


def use_fake_lambda(monkeypatch: Any) -> FakeLambda:
    """Have every account hand out one fake client of Lambda."""
    fake, real = FakeLambda(), Account.client

    def client(self: Account, service: str) -> Any:
        return fake if service == "lambda" else real(self, service)

    monkeypatch.setattr(Account, "client", client)
    return fake


def pretend_credentials(monkeypatch: Any) -> None:
    """Credentials and a region of nobody's: no account is ever reached."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL", "LAMBDAFIT_STACK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("ACCESS_KEY_ID", "testing"), ("SECRET_ACCESS_KEY", "testing"), ("DEFAULT_REGION", REGION)):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
