"""The stand-in for AWS: one stack of a SAM template, on loopback, from the first API call to the last process's end.

DynamoDB with its stream, S3, SQS, SNS and CloudFormation come from moto, in a process of its own; Lambda, its event
source mappings and schedules are here; functions run in the local engine's environments, processes with AWS's runtime
client.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engines.local_lambda.invocation import Function
from engines.local_lambda.variables import ACCOUNT_ID, SOURCE_FOLDER
from rehearsal.changes import Changes
from rehearsal.cloud_process import CHANGES_PATH
from rehearsal.environments import Environments
from rehearsal.functions import FunctionService
from rehearsal.lambda_endpoint import LambdaEndpoint
from rehearsal.mappings import EventSource, QueueMapping, StreamMapping
from rehearsal.recording import STAND_IN, USER, Recorder, access_key, read_calls
from rehearsal.schedules import Schedule
from rehearsal.stack_model import STREAM_LABEL, FunctionModel, Place, StackModel, build_model, translate

REGION = "us-east-1"
TESTS = Path(__file__).resolve().parents[1]
SERVICES = ("DYNAMODB", "DYNAMODB_STREAMS", "S3", "SQS", "SNS", "CLOUDFORMATION", "STS", "CLOUDWATCH_LOGS", "LOGS")
END_LIMIT_S = 10.0
SECRET = "rehearsal"  # noqa: S105 - nobody checks it


class Cloud:
    """A context manager: a deployed stack.

    Args:
        folder: gets logs, the shared files (`shared`), and the recorded calls (`calls.jsonl`).
        template: SAM.
        stack: its name.
        parameters: of the template.
        environments: the most processes of a function, by logical id; a template's reserved concurrency is kept
            besides, by refusing.
        variables: stand in for the template's, where that has them.
        speed: Lambda's and SQS's waits are shorter by this factor. Ages and limits are as in the template.
        sweep_s: stands in for the schedules' rates; None: as in the template, divided by `speed`.
        python_path: where handlers of tests lie.
    """

    def __init__(
        self,
        folder: Path,
        template: Path,
        *,
        stack: str = "lambdafit-rehearsal",
        parameters: Mapping[str, str] | None = None,
        environments: Mapping[str, int] | None = None,
        variables: Mapping[str, str] | None = None,
        speed: float = 20.0,
        sweep_s: float | None = None,
        python_path: str = "",
    ) -> None:
        self.folder, self.stack = folder, stack
        self.shared = folder / "shared"
        self.calls_file = folder / "calls.jsonl"
        self.logs = folder / "logs"
        self._template, self._parameters = template, dict(parameters or {})
        self._limits = dict(environments or {})
        self._stand_ins = {"LAMBDAFIT_SHARED": str(self.shared), "LAMBDAFIT_LIBRARIES": "", **(variables or {})}
        self._speed, self._sweep_s, self._python_path = speed, sweep_s, python_path
        self._ends = contextlib.ExitStack()
        self._clients: dict[tuple[str, str], Any] = {}
        self._clients_lock = threading.Lock()
        self.model: StackModel
        self.functions: FunctionService
        self.environments: Environments
        self.mappings: dict[str, EventSource] = {}
        self.schedules: dict[str, Schedule] = {}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as ends:
            self._ends = ends
            self._start()
            self._ends = ends.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()

    # --- what users and tests do with it --------------------------------------------------------------------

    @property
    def outputs(self) -> Mapping[str, str]:
        """Of the stack."""
        return self.model.outputs

    def client(self, service: str, caller: str = STAND_IN) -> Any:
        """A boto3 client that acts as the stand-in itself, or as a function by logical id."""
        import boto3
        from botocore.config import Config

        with self._clients_lock:
            if (service, caller) not in self._clients:
                self._clients[service, caller] = boto3.client(
                    service,
                    region_name=REGION,
                    aws_access_key_id=access_key(caller),
                    aws_secret_access_key=SECRET,
                    endpoint_url=self._lambda_url if service == "lambda" else self._moto_url,
                    config=Config(read_timeout=960, retries={"total_max_attempts": 2}, max_pool_connections=40),
                )
            return self._clients[service, caller]

    def credentials(self, caller: str = USER) -> Any:
        """To sign requests with."""
        from botocore.credentials import Credentials

        return Credentials(access_key(caller), SECRET)

    def variables(self, caller: str = USER) -> dict[str, str]:
        """The standard variables with which boto3 finds this cloud and acts as `caller`."""
        endpoints = {f"AWS_ENDPOINT_URL_{service}": self._moto_url for service in SERVICES}
        return endpoints | {
            "AWS_ENDPOINT_URL_LAMBDA": self._lambda_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": access_key(caller),
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def invoke(self, logical_id: str, event: Any, *, wait: bool = True) -> Any:
        """Invoke a function by the API. Returns its result; raises `FunctionFailed`."""
        answer = self.client("lambda").invoke(
            FunctionName=self.model.functions[logical_id].name,
            InvocationType="RequestResponse" if wait else "Event",
            Payload=json.dumps(event).encode(),
        )
        payload = answer["Payload"].read()
        if "FunctionError" in answer:
            raise FunctionFailed(payload.decode())
        return json.loads(payload) if payload else None

    def switch(self, *, on: bool, kind: str = "stream") -> None:
        """Enable or disable all mappings of streams, or of queues."""
        for mapping in self.mappings.values():
            if isinstance(mapping, StreamMapping) is (kind == "stream"):
                mapping.switch(on=on)

    def sweep_every(self, seconds: float | None) -> None:
        """Another rate of all schedules; None: switched off."""
        for schedule in self.schedules.values():
            schedule.every(seconds)

    def messages(self, queue_url: str) -> list[dict[str, Any]]:
        """Take all messages out of a queue."""
        queues, found = self.client("sqs"), []
        while answer := queues.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
            for one in answer:
                queues.delete_message(QueueUrl=queue_url, ReceiptHandle=one["ReceiptHandle"])
                found.append(json.loads(one["Body"]))
        return found

    def wait_for(self, what: Callable[[], Any], patience_s: float = 60.0, service: str = "dynamodb") -> Any:
        """Return what `what` returns as soon as that is true; looks again whenever the service has changed.

        Raises:
            TimeoutError: the patience is over.
        """
        until = time.monotonic() + patience_s
        while True:
            count = self.changes[service].count
            if found := what():
                return found
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"nothing within {patience_s:g} s")
            self.changes[service].wait_beyond(count, min(left_s, 1.0))

    def signal(self, logical_id: str, pid: int, number: signal.Signals) -> None:
        """A signal for one environment's process, out of the blue."""
        assert pid in self.environments.pids(), f"{pid} is no process of {logical_id}"
        os.kill(pid, number)

    def calls(self) -> list[dict[str, Any]]:
        """All API calls up to now, as permissions that they need."""
        return read_calls(self.calls_file)

    # --- start ----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        self.shared.mkdir(exist_ok=True)
        recorder = Recorder(self.calls_file)
        self._ends.callback(recorder.close)
        place = Place(REGION, ACCOUNT_ID, self.stack)
        moto_port = self._start_moto()
        self._moto_url = f"http://127.0.0.1:{moto_port}"
        self.changes = {name: Changes(moto_port, CHANGES_PATH, name) for name in ("dynamodb", "sqs")}
        for changes in self.changes.values():
            self._ends.callback(changes.stop)
        told_mappings = lambda: [(one.model, one.enabled) for one in self.mappings.values()]  # noqa: E731
        api_arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT_ID}:rehearsal"
        endpoint = LambdaEndpoint(recorder, told_mappings, self._route, api_arn)
        self._ends.callback(endpoint.stop)
        self._lambda_url = f"http://127.0.0.1:{endpoint.port}"
        self.model = self._create_stack(place)
        self.functions = FunctionService(
            {one.name: one for one in self.model.functions.values()},
            self._send_for_functions,
            place.function_arn,
            speed=self._speed,
        )
        self.environments = Environments(
            [self._as_function(one) for one in self.model.functions.values()],
            log_folder=self.logs,
            environment={"PYTHONPATH": self._python_path} if self._python_path else {},
            told=self.functions.ended,
        )
        self._ends.callback(self.environments.stop)
        self._ends.callback(self.functions.stop)
        self.functions.begin(self.environments)
        endpoint.start(self.functions)
        self._start_mappings()

    def _start_moto(self) -> int:
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}
        path = os.pathsep.join([str(SOURCE_FOLDER), str(TESTS)])
        log = (self.logs / "moto.log").open("wb")
        self._ends.callback(log.close)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rehearsal.cloud_process", str(self.calls_file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=variables | {"PYTHONPATH": path, "MOTO_ACCOUNT_ID": ACCOUNT_ID},
        )
        self._ends.callback(_end, process)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.strip().isdigit():
            raise RuntimeError(f"moto's process does not start: {(self.logs / 'moto.log').read_text()[-2000:]}")
        return int(line)

    def _create_stack(self, place: Place) -> StackModel:
        translated = translate(self._template, self._parameters, REGION)
        model = build_model(
            translated, place, self._parameters, queue_base_url=self._moto_url, api_url=self._lambda_url
        )
        stacks = self.client("cloudformation")
        stacks.create_stack(StackName=self.stack, TemplateBody=json.dumps(model.create))
        stack = stacks.describe_stacks(StackName=self.stack)["Stacks"][0]
        if stack["StackStatus"] != "CREATE_COMPLETE":
            raise RuntimeError(f"the stack is {stack['StackStatus']}: {stack.get('StackStatusReason')}")
        functions = {
            one.logical_id: replace(
                one,
                variables={
                    name: self._stand_ins.get(name, value) if name in one.variables else value
                    for name, value in one.variables.items()
                },
            )
            for one in model.functions.values()
        }
        mappings = {name: replace(one, source=self._with_label(one.source)) for name, one in model.mappings.items()}
        return replace(model, functions=functions, mappings=mappings)

    def _with_label(self, arn: str) -> str:
        """A stream's real ARN, which is known once its table is there."""
        if not arn.endswith(f"/stream/{STREAM_LABEL}"):
            return arn
        table = arn.partition(":table/")[2].partition("/")[0]
        return str(self.client("dynamodb").describe_table(TableName=table)["Table"]["LatestStreamArn"])

    def _as_function(self, model: FunctionModel) -> Function:
        return Function(
            name=model.name,
            handler=model.handler,
            concurrency=self._limits.get(model.logical_id, 1),
            time_limit_s=model.time_limit_s,
            memory_mb=model.memory_mb,
            environment={**self.variables(model.logical_id), **model.variables},
        )

    def _start_mappings(self) -> None:
        by_arn = {self.functions.function_arn(one.name): one for one in self.model.functions.values()}
        for name, model in self.model.mappings.items():
            function = by_arn.get(model.function) or self.functions.known(model.function)
            send = self._send_as(function.logical_id)
            stream = ":dynamodb:" in model.source
            changes = self.changes["dynamodb" if stream else "sqs"]
            common = (model, self.functions, changes, send, self._speed)
            if stream:
                streams = self.client("dynamodbstreams", function.logical_id)
                self.mappings[name] = StreamMapping(*common, streams)
            else:
                queues = self.client("sqs", function.logical_id)
                self.mappings[name] = QueueMapping(*common, queues, self._queue_url(model.source))
        for name, schedule in self.model.schedules.items():
            every_s = schedule.every_s / self._speed if self._sweep_s is None else self._sweep_s
            self.schedules[name] = Schedule(schedule, every_s, self.functions)
        for thread in (*self.mappings.values(), *self.schedules.values()):
            thread.start()
            self._ends.callback(thread.join, END_LIMIT_S)
        for thread in (*self.mappings.values(), *self.schedules.values()):
            self._ends.callback(thread.stop)

    # --- parts of others ------------------------------------------------------------------------------------

    def _queue_url(self, arn: str) -> str:
        return f"{self._moto_url}/{ACCOUNT_ID}/{arn.rpartition(':')[2]}"

    def _send_as(self, caller: str) -> Any:
        def send(queue_arn: str, body: Mapping[str, Any]) -> None:
            self.client("sqs", caller).send_message(QueueUrl=self._queue_url(queue_arn), MessageBody=json.dumps(body))

        return send

    def _send_for_functions(self, queue_arn: str, body: Mapping[str, Any]) -> None:
        function = self.functions.known(body["requestContext"]["functionArn"])
        self._send_as(function.logical_id)(queue_arn, body)

    def _route(self, method: str, path: str) -> tuple[FunctionModel, str, dict[str, str]] | None:
        for route, name in self.model.routes.items():
            wanted, _, pattern = route.partition(" ")
            match = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern), path)
            if match and wanted == method:
                return self.functions.known(name), route, match.groupdict()
        return None


class FunctionFailed(Exception):
    """A function answered with an error."""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End moto's process."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(END_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
