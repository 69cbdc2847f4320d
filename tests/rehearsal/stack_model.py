"""What a SAM template describes, as far as the rehearsal acts it out: functions, mappings, schedules, table, queues."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rehearsal.intrinsics import Intrinsics

CREATED = frozenset(("AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::SNS::Topic"))
"""Types that are created in moto."""

ACTED_OUT = frozenset(
    (
        "AWS::Lambda::Function",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Scheduler::Schedule",
        "AWS::Events::Rule",
        "AWS::ApiGatewayV2::Api",
    )
)
"""Types that the stand-in acts out itself. All others are skipped, and listed."""


@dataclass(frozen=True)
class FunctionModel:
    """One function; `logical_id` is its name in the template, by which callers are known.

    `reserved` is None without reserved concurrency. `failure_queue` is the ARN of its on-failure destination.
    """

    logical_id: str
    name: str
    handler: str
    memory_mb: int
    time_limit_s: float
    variables: Mapping[str, str]
    reserved: int | None = None
    retries: int = 2
    max_age_s: float = 21_600.0
    failure_queue: str = ""


@dataclass(frozen=True)
class MappingModel:
    """One event source mapping, with CloudFormation's defaults."""

    logical_id: str
    function: str
    source: str
    batch_size: int
    window_s: float
    patterns: tuple[Mapping[str, Any], ...]
    retries: int
    max_age_s: float
    bisect: bool
    reports_failures: bool
    failure_queue: str
    starting_position: str
    enabled: bool


@dataclass(frozen=True)
class ScheduleModel:
    """A function that is invoked at a rate."""

    logical_id: str
    function: str
    every_s: float
    event: Any


@dataclass(frozen=True)
class StackModel:
    """A stack before it is created.

    `create` is the template for moto, without intrinsics; `routes` those of the HTTP API: `POST /runs` → function's
    name; `skipped` are the resources that play no part: logical id → type. Stream ARNs end in `STREAM_LABEL`.
    """

    name: str
    functions: Mapping[str, FunctionModel]
    mappings: Mapping[str, MappingModel]
    schedules: Mapping[str, ScheduleModel]
    outputs: Mapping[str, str]
    create: Mapping[str, Any]
    routes: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)


class Place:
    """Region, account and stack: what names and ARNs are made of."""

    def __init__(self, region: str, account: str, stack: str) -> None:
        self.region, self.account, self.stack = region, account, stack

    def physical_name(self, logical_id: str, given: Any = None) -> str:
        """A name as CloudFormation would draw it, but the same each time."""
        if given:
            return str(given)
        suffix = hashlib.sha256(f"{self.stack}/{logical_id}".encode()).hexdigest()[:12]
        return f"{self.stack}-{logical_id}"[: 64 - 13] + f"-{suffix}"

    def function_arn(self, name: str) -> str:
        """Of a function."""
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{name}"

    def queue_arn(self, name: str) -> str:
        """Of a queue."""
        return f"arn:aws:sqs:{self.region}:{self.account}:{name}"


STREAM_LABEL = "STREAM"
"""Stands in ARNs for the table's stream, whose label is known once the table is there."""


def translate(template_file: Path, parameters: Mapping[str, str], region: str) -> dict[str, Any]:
    """CloudFormation from SAM; code is said to lie in S3 already, as `sam package` does it."""
    from samtranslator.translator.transform import transform
    from samtranslator.yaml_helper import yaml_parse

    class NoManagedPolicies:
        def load(self) -> dict[str, str]:
            return {}

    os.environ.setdefault("AWS_DEFAULT_REGION", region)
    template = yaml_parse(template_file.read_text())
    packaged = {"CodeUri": "s3://rehearsal/code.zip", "ContentUri": "s3://rehearsal/layer.zip"}
    places = [template.get("Globals", {}).get("Function", {})]
    places += [resource.get("Properties", {}) for resource in template["Resources"].values()]
    for properties in places:
        for key, value in packaged.items():
            if key in properties:
                properties[key] = value
    return dict(transform(template, dict(parameters), NoManagedPolicies()))


def build_model(
    translated: Mapping[str, Any],
    place: Place,
    parameters: Mapping[str, str],
    *,
    queue_base_url: str = "",
    api_url: str = "",
) -> StackModel:
    """Resolve a translated template.

    Args:
        queue_base_url: of queues, which have an address: `http://127.0.0.1:1234`.
        api_url: where the stand-in serves the HTTP API.
    """
    resources: dict[str, Any] = dict(translated["Resources"])
    attributes = _Attributes(resources, place, queue_base_url, api_url)
    pseudo = {
        "AWS::Region": place.region,
        "AWS::AccountId": place.account,
        "AWS::StackName": place.stack,
        "AWS::StackId": f"arn:aws:cloudformation:{place.region}:{place.account}:stack/{place.stack}/rehearsal",
        "AWS::Partition": "aws",
        "AWS::URLSuffix": "amazonaws.com",
    }
    intrinsics = Intrinsics(translated, parameters, pseudo, attributes)
    attributes.intrinsics = intrinsics
    wanted = {name: one for name, one in resources.items() if intrinsics.wanted(one)}
    by_type: dict[str, dict[str, Any]] = {}
    for logical_id, one in wanted.items():
        if one["Type"] in CREATED | ACTED_OUT:
            by_type.setdefault(one["Type"], {})[logical_id] = intrinsics.resolve(one.get("Properties", {}))
    outputs = {
        name: str(intrinsics.resolve(one["Value"]))
        for name, one in translated.get("Outputs", {}).items()
        if intrinsics.wanted(one)
    }
    if "ApiUrl" in outputs and api_url:
        outputs["ApiUrl"] = api_url
    create: dict[str, Any] = {}
    for kind in CREATED:
        for logical_id, properties in by_type.get(kind, {}).items():
            name_key = _NAME_KEYS.get(kind)
            if name_key:
                properties = properties | {name_key: attributes.name(logical_id)}
            create[logical_id] = {"Type": kind, "Properties": properties}
            dead_letters = properties.get("RedrivePolicy", {}).get("deadLetterTargetArn")
            if dead_letters:  # a literal ARN no longer says which comes first
                queues = by_type["AWS::SQS::Queue"]
                create[logical_id]["DependsOn"] = [one for one in queues if attributes(one, "Arn") == dead_letters]
    functions = _functions(by_type, attributes)
    return StackModel(
        name=place.stack,
        functions=functions,
        mappings=_mappings(by_type),
        schedules=_schedules(by_type),
        outputs=outputs,
        create={"Resources": create, "Outputs": {name: {"Value": value} for name, value in outputs.items()}},
        routes=_routes(by_type),
        skipped={name: one["Type"] for name, one in wanted.items() if one["Type"] not in CREATED | ACTED_OUT},
    )


_NAME_KEYS = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::Lambda::Function": "FunctionName",
}


class _Attributes:
    """What `Ref` and `Fn::GetAtt` give."""

    intrinsics: Intrinsics

    def __init__(self, resources: Mapping[str, Any], place: Place, queue_base_url: str, api_url: str) -> None:
        self._resources, self._place = resources, place
        self._queue_base_url, self._api_url = queue_base_url, api_url

    def name(self, logical_id: str) -> str:
        resource = self._resources[logical_id]
        key = _NAME_KEYS.get(resource["Type"], "")
        given = self.intrinsics.resolve(resource.get("Properties", {}).get(key))
        drawn = self._place.physical_name(logical_id, given)
        return drawn.lower() if resource["Type"] == "AWS::S3::Bucket" else drawn

    def __call__(self, logical_id: str, attribute: str) -> Any:
        kind = self._resources[logical_id]["Type"]
        place, name = self._place, self.name(logical_id)
        where = f"{place.region}:{place.account}"
        match kind, attribute:
            case "AWS::DynamoDB::Table", "Arn":
                return f"arn:aws:dynamodb:{where}:table/{name}"
            case "AWS::DynamoDB::Table", "StreamArn":
                return f"arn:aws:dynamodb:{where}:table/{name}/stream/{STREAM_LABEL}"
            case "AWS::S3::Bucket", "Arn":
                return f"arn:aws:s3:::{name}"
            case "AWS::SQS::Queue", "Arn":
                return place.queue_arn(name)
            case "AWS::SQS::Queue", "" | "QueueUrl":
                return f"{self._queue_base_url}/{place.account}/{name}"
            case "AWS::SNS::Topic", "" | "TopicArn":
                return f"arn:aws:sns:{where}:{name}"
            case "AWS::Lambda::Function", "Arn":
                return place.function_arn(name)
            case "AWS::ApiGatewayV2::Api", "ApiEndpoint":
                return self._api_url
            case _, "" | "QueueName" | "TopicName":
                return name
        return f"{name}.{attribute}"


def _functions(by_type: Mapping[str, Any], attributes: _Attributes) -> dict[str, FunctionModel]:
    asynchronous = {one["FunctionName"]: one for one in by_type.get("AWS::Lambda::EventInvokeConfig", {}).values()}
    found = {}
    for logical_id, properties in by_type.get("AWS::Lambda::Function", {}).items():
        name = attributes.name(logical_id)
        config = asynchronous.get(name, {})
        reserved = properties.get("ReservedConcurrentExecutions")
        found[logical_id] = FunctionModel(
            logical_id=logical_id,
            name=name,
            handler=properties["Handler"],
            memory_mb=int(properties.get("MemorySize", 128)),
            time_limit_s=float(properties.get("Timeout", 3)),
            variables={
                key: str(value) for key, value in properties.get("Environment", {}).get("Variables", {}).items()
            },
            reserved=None if reserved is None else int(reserved),
            retries=int(config.get("MaximumRetryAttempts", 2)),
            max_age_s=float(config.get("MaximumEventAgeInSeconds", 21_600)),
            failure_queue=config.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination", ""),
        )
    return found


def _mappings(by_type: Mapping[str, Any]) -> dict[str, MappingModel]:
    found = {}
    for logical_id, properties in by_type.get("AWS::Lambda::EventSourceMapping", {}).items():
        stream = ":dynamodb:" in properties["EventSourceArn"]
        filters = properties.get("FilterCriteria", {}).get("Filters", [])
        found[logical_id] = MappingModel(
            logical_id=logical_id,
            function=properties["FunctionName"],
            source=properties["EventSourceArn"],
            batch_size=int(properties.get("BatchSize", 100 if stream else 10)),
            window_s=float(properties.get("MaximumBatchingWindowInSeconds", 0)),
            patterns=tuple(json.loads(one["Pattern"]) for one in filters),
            retries=int(properties.get("MaximumRetryAttempts", -1)),
            max_age_s=float(properties.get("MaximumRecordAgeInSeconds", -1)),
            bisect=_truth(properties.get("BisectBatchOnFunctionError", False)),
            reports_failures="ReportBatchItemFailures" in properties.get("FunctionResponseTypes", []),
            failure_queue=properties.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination", ""),
            starting_position=properties.get("StartingPosition", ""),
            enabled=_truth(properties.get("Enabled", True)),
        )
    return found


def _schedules(by_type: Mapping[str, Any]) -> dict[str, ScheduleModel]:
    found = {}
    for logical_id, properties in by_type.get("AWS::Scheduler::Schedule", {}).items():
        if properties.get("State") != "DISABLED":
            target = properties["Target"]
            event = json.loads(target["Input"]) if "Input" in target else {}
            found[logical_id] = _schedule(logical_id, target["Arn"], properties["ScheduleExpression"], event)
    for logical_id, properties in by_type.get("AWS::Events::Rule", {}).items():
        if properties.get("State") != "DISABLED" and "ScheduleExpression" in properties:
            target = properties["Targets"][0]
            event = {
                "version": "0",
                "detail-type": "Scheduled Event",
                "source": "aws.events",
                "resources": [],
                "detail": {},
            }
            event = json.loads(target["Input"]) if "Input" in target else copy.deepcopy(event)
            found[logical_id] = _schedule(logical_id, target["Arn"], properties["ScheduleExpression"], event)
    return found


def _routes(by_type: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for api in by_type.get("AWS::ApiGatewayV2::Api", {}).values():
        for path, methods in api.get("Body", {}).get("paths", {}).items():
            for method, one in methods.items():
                uri = one.get("x-amazon-apigateway-integration", {}).get("uri", "")
                if ":function:" in uri:
                    found[f"{method.upper()} {path}"] = uri.partition(":function:")[2].removesuffix("/invocations")
    return found


def _schedule(logical_id: str, function: str, expression: str, event: Any) -> ScheduleModel:
    count, unit = expression.removeprefix("rate(").removesuffix(")").split()
    seconds = {"minute": 60.0, "hour": 3600.0, "day": 86_400.0}[unit.removesuffix("s")]
    return ScheduleModel(logical_id, function, float(count) * seconds, event)


def _truth(value: Any) -> bool:
    return str(value).lower() == "true"
