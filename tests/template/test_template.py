"""What template.yaml promises, read from its text: comments, outputs, variables, limits and filters."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import msgspec
import pytest

from contracts.messages import FUNCTIONS
from handlers.environment import FunctionEnvironment, read_environment
from rehearsal.patterns import passes
from runs.code_version import VERSION
from template.stack_template import CHECKOUT, functions, parameter_defaults, resources, template, variables

OUTPUTS = [
    "TableName",
    "BucketName",
    "StartRunFunction",
    "ConductFunction",
    "SweepFunction",
    "MonitorFunction",
    "TrainFunction",
    "CombineFunction",
    "PrepareFunction",
    "InstallLibrariesFunction",
    "PredictFunction",
    "ApiUrl",
    "FailedInvocationsQueueUrl",
    "DeadLettersQueueUrl",
    "FileSystemId",
    "LibrariesSource",
    "CodeVersion",
    "TrainMemoryMb",
    "TrainTimeLimitS",
    "WorkersCeiling",
    "Architecture",
    "UserPolicyArn",
]
IN_THE_NETWORK = {"Train", "Combine", "Prepare", "InstallLibraries", "Predict"}
OUTSIDE = {"StartRun", "Conduct", "Sweep", "Monitor"}
ON_ONE_MACHINE_ONLY = {"LAMBDAFIT_HOME", "LAMBDAFIT_DATA", "LAMBDAFIT_SPARES"}
ROUTES = {
    "POST /runs",
    "GET /runs",
    "GET /runs/{run_id}",
    "POST /runs/{run_id}/stop",
    "POST /runs/{run_id}/predict",
}


def test_each_resource_tells_its_purpose_in_a_comment_above_it() -> None:
    lines = (CHECKOUT / "template.yaml").read_text().splitlines()
    begin, end = lines.index("Resources:"), lines.index("Outputs:")
    places = {lines[n].strip(" :"): n for n in range(begin, end) if re.fullmatch(r"  \w+:", lines[n])}
    assert set(places) == set(template()["Resources"])
    bare = [name for name, n in places.items() if not re.match(r"  # \w.*\w", lines[n - 1])]
    assert bare == []


def test_outputs_are_those_that_the_command_line_reads() -> None:
    assert sorted(template()["Outputs"]) == sorted(OUTPUTS)


def test_the_stack_tells_the_version_of_its_code() -> None:
    assert template()["Outputs"]["CodeVersion"]["Value"] == VERSION


def test_every_parameter_is_described_bounded_and_has_a_default() -> None:
    for name, one in template()["Parameters"].items():
        assert len(one["Description"]) > 20, name
        assert "Default" in one, name
        assert {"AllowedValues", "MinValue", "AllowedPattern"} & set(one), name


def test_samconfig_has_three_configurations_and_only_production_asks() -> None:
    configurations = tomllib.loads((CHECKOUT / "samconfig.toml").read_text())
    del configurations["version"]
    assert set(configurations) == {"default", "dev", "prod"}
    for name, one in configurations.items():
        deploy = one["deploy"]["parameters"]
        assert deploy["confirm_changeset"] is (name == "prod")
        assert deploy["capabilities"] == "CAPABILITY_IAM"
        assert one["build"]["parameters"] == {"cached": True, "parallel": True}
        given = dict(re.findall(r"(\w+)=(\S+)", deploy.get("parameter_overrides", "")))
        assert given.keys() <= parameter_defaults().keys()


def test_samconfig_names_no_region_as_that_would_win_over_the_callers() -> None:
    assert "region" not in re.sub(r"#.*", "", (CHECKOUT / "samconfig.toml").read_text())


def test_the_deployment_page_names_every_parameter_with_its_default() -> None:
    page = (CHECKOUT / "docs/deploy.md").read_text()
    rows = dict(re.findall(r"^\| `([A-Z]\w+)` \|([^|]*)\|", page, re.MULTILINE))
    assert {name: value.strip() for name, value in rows.items()} == parameter_defaults()


def test_the_deployment_page_names_errors_that_exist() -> None:
    known = set(re.findall(r"^### (E\d+)", (CHECKOUT / "docs/errors.md").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bE\d{3}\b", (CHECKOUT / "docs/deploy.md").read_text()))
    assert len(named) > 10
    assert named - known == set()


@pytest.mark.parametrize("file", ["layer/requirements.txt", "requirements/sam.txt", "requirements/checkov.txt"])
def test_every_package_is_pinned_with_hashes_and_no_host(file: str) -> None:
    text = (CHECKOUT / file).read_text()
    pins = re.findall(r"^[^#\s].*(?:\n .*)*", text, re.MULTILINE)
    assert len(pins) > 10
    assert [pin for pin in pins if "==" not in pin or "--hash=sha256:" not in pin] == []
    assert "://" not in text


def test_the_layer_has_the_versions_that_everything_is_tested_with() -> None:
    layer, tested = (
        dict(re.findall(r"^([\w.-]+)==(\S+)", (CHECKOUT / file).read_text(), re.MULTILINE))
        for file in ("layer/requirements.txt", "requirements/dev.txt")
    )
    assert layer == {name: tested[name] for name in layer}


def test_nine_functions_in_the_places_where_they_belong() -> None:
    assert set(functions()) == IN_THE_NETWORK | OUTSIDE
    for name, one in functions().items():
        assert ("VpcConfig" in one) is (name in IN_THE_NETWORK)
        assert ("FileSystemConfigs" in one) is (name in IN_THE_NETWORK)


def test_no_nat_no_internet_gateway_no_interface_endpoint() -> None:
    kinds = {one["Type"] for one in template()["Resources"].values()}
    assert not kinds & {"AWS::EC2::NatGateway", "AWS::EC2::InternetGateway", "AWS::EC2::Route", "AWS::EC2::EIP"}
    endpoints = resources("AWS::EC2::VPCEndpoint")
    assert {one["VpcEndpointType"] for one in endpoints.values()} == {"Gateway"}
    assert {one["ServiceName"]["Fn::Sub"].rpartition(".")[2] for one in endpoints.values()} == {"s3", "dynamodb"}


def test_every_variable_of_the_template_is_one_that_functions_read_and_the_other_way_round() -> None:
    read = {f"LAMBDAFIT_{name.upper()}" for name in FunctionEnvironment.__struct_fields__}
    given = {name for function in functions() for name in variables(function)}
    assert given - read == set()
    assert read - given == ON_ONE_MACHINE_ONLY


@pytest.mark.parametrize("function", sorted(IN_THE_NETWORK | OUTSIDE))
def test_each_functions_variables_are_valid(function: str) -> None:
    environment = read_environment(resolved_variables(function))
    assert isinstance(environment, FunctionEnvironment)
    assert environment.stack == "lambdafit"
    if function in IN_THE_NETWORK:
        mount = functions()[function]["FileSystemConfigs"][0]["LocalMountPath"]
        assert str(environment.shared_folder) == mount


def resolved_variables(function: str) -> dict[str, str]:
    """The variables with defaults of parameters and made-up names of resources."""
    known = parameter_defaults() | {"AWS::StackName": "lambdafit", "Notices": "arn:aws:sns:us-east-1:123456789012:N"}
    given = variables(function)
    return {
        name: known.get(value["Ref"], value["Ref"]) if isinstance(value, dict) else str(value)
        for name, value in given.items()
    }


def test_those_who_reconcile_know_whom_to_invoke() -> None:
    kinds = {kind.title() for kind in FUNCTIONS.values()}
    for function in ("Conduct", "Sweep"):
        named = {v["Ref"] for k, v in variables(function).items() if k.endswith("_FUNCTION")}
        assert named >= kinds, function


def test_tasks_are_never_retried_by_lambda_and_their_failures_go_to_conduct() -> None:
    for name in ("Train", "Combine", "Prepare"):
        config = functions()[name]["EventInvokeConfig"]
        assert config["MaximumRetryAttempts"] == 0
        assert config["MaximumEventAgeInSeconds"] <= 60
        assert config["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": ["FailedInvocations", "Arn"]}
    assert functions()["Conduct"]["Events"]["Failures"]["Properties"]["Queue"] == {
        "Fn::GetAtt": ["FailedInvocations", "Arn"]
    }


def test_other_asynchronous_failures_go_to_the_dead_letters() -> None:
    for name in ("StartRun", "Sweep", "InstallLibraries", "Predict"):
        config = functions()[name]["EventInvokeConfig"]
        assert config["MaximumRetryAttempts"] == 0
        assert config["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": ["DeadLetters", "Arn"]}


@pytest.mark.parametrize(("function", "event"), [("Conduct", "Reports"), ("Monitor", "Changes")])
def test_stream_mappings_are_bounded_and_lose_no_poison(function: str, event: str) -> None:
    mapping = functions()[function]["Events"][event]["Properties"]
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    assert 0 < mapping["MaximumRetryAttempts"] <= 10
    assert 60 <= mapping["MaximumRecordAgeInSeconds"] <= 86_400
    assert mapping["BisectBatchOnFunctionError"] is True
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": ["DeadLetters", "Arn"]}


def test_a_queue_gives_its_function_six_times_its_time() -> None:
    conduct = functions()["Conduct"]
    assert resources("AWS::SQS::Queue")["FailedInvocations"]["VisibilityTimeout"] >= 6 * conduct["Timeout"]
    assert conduct["Events"]["Failures"]["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def patterns(function: str, event: str) -> list[dict[str, Any]]:
    filters = functions()[function]["Events"][event]["Properties"]["FilterCriteria"]["Filters"]
    return [json.loads(one["Pattern"]) for one in filters]


def change(kind: str, **more: str) -> dict[str, Any]:
    image = {"kind": {"S": kind}} | {name: {"S": value} for name, value in more.items()}
    return {"eventName": "MODIFY", "dynamodb": {"NewImage": image}}


@pytest.mark.parametrize("status", ["DONE", "FAILED", "WAITING"])
def test_conduct_hears_of_tasks_that_need_a_decision(status: str) -> None:
    assert passes(patterns("Conduct", "Reports"), change("task", status=status))


@pytest.mark.parametrize(
    "record",
    [
        change("task", status="OFFERED"),
        change("task", status="CLAIMED"),
        change("steps"),
        change("spans"),
        change("predictions"),
        change("stage"),
        change("round"),
        {"eventName": "REMOVE", "dynamodb": {"Keys": {"pk": {"S": "run#r-1"}}}},
    ],
)
def test_conduct_is_not_woken_by_what_needs_no_decision(record: dict[str, Any]) -> None:
    assert not passes(patterns("Conduct", "Reports"), record)


def test_both_hear_of_runs_and_only_monitor_of_rounds() -> None:
    run, one_round = change("run", status="RUNNING"), change("round")
    assert passes(patterns("Conduct", "Reports"), run)
    assert passes(patterns("Monitor", "Changes"), run)
    assert passes(patterns("Monitor", "Changes"), one_round)
    assert not passes(patterns("Monitor", "Changes"), change("task", status="DONE"))


@pytest.mark.parametrize(
    ("function", "event", "file"), [("Conduct", "Reports", "conduct.json"), ("Monitor", "Changes", "monitor.json")]
)
def test_the_sample_events_hold_only_records_that_pass_the_filters(function: str, event: str, file: str) -> None:
    records = json.loads((CHECKOUT / "events" / file).read_text())["Records"]
    stream = [record for record in records if record["eventSource"] == "aws:dynamodb"]
    assert stream
    assert [record for record in stream if not passes(patterns(function, event), record)] == []


def test_the_api_has_these_routes_and_lets_nobody_in_without_iam() -> None:
    (api,) = resources("AWS::Serverless::HttpApi").values()
    assert api["Auth"] == {"EnableIamAuthorizer": True, "DefaultAuthorizer": "AWS_IAM"}
    events = [e for one in functions().values() for e in one.get("Events", {}).values() if e["Type"] == "HttpApi"]
    assert {f"{e['Properties']['Method']} {e['Properties']['Path']}" for e in events} == ROUTES
    assert not [e for e in events if "Auth" in e["Properties"]]


def test_the_sweep_is_always_on() -> None:
    (schedule,) = [e for e in functions()["Sweep"]["Events"].values() if e["Type"] == "Schedule"]
    assert schedule["Properties"]["Enabled"] is True
    assert schedule["Properties"]["Schedule"] == "rate(1 minute)"


def test_logs_do_not_stay_for_ever() -> None:
    groups = resources("AWS::Logs::LogGroup")
    assert {name.removesuffix("Logs") for name in groups} == set(functions()) | {"Api"}
    assert all(one["RetentionInDays"] == {"Ref": "LogRetentionDays"} for one in groups.values())
    for name, one in functions().items():
        assert one["LoggingConfig"]["LogGroup"] == {"Ref": f"{name}Logs"}


def test_the_spend_alarm_takes_the_prices_of_the_price_file() -> None:
    prices = msgspec.json.decode((CHECKOUT / "src/runs/prices.json").read_bytes())["regions"]["us-east-1"]["prices"]
    text, values = resources("AWS::CloudWatch::Alarm")["SpendAlarm"]["Metrics"][0]["Expression"]["Fn::Sub"]
    _, on_arm, otherwise = values["GbSecond"]["Fn::If"]
    assert float(on_arm) == prices["lambda_arm64_usd_per_gb_s"]["usd"]
    assert float(otherwise) == prices["lambda_x86_64_usd_per_gb_s"]["usd"]
    assert float(values["GbRead"]) == prices["efs_read_usd_per_gb"]["usd"]
    assert float(values["GbWritten"]) == prices["efs_write_usd_per_gb"]["usd"]
    assert f"FILL(combine, 0) * {functions()['Combine']['MemorySize']}" in text


def test_ten_alarm_metrics_at_most_so_that_the_free_ones_suffice() -> None:
    alarms = resources("AWS::CloudWatch::Alarm").values()
    assert sum(sum("MetricStat" in m for m in one.get("Metrics", [])) or 1 for one in alarms) <= 10
    assert all(one["AlarmActions"] == [{"Ref": "Notices"}] for one in alarms)


def test_the_file_system_is_encrypted_and_only_functions_reach_it() -> None:
    files = resources("AWS::EFS::FileSystem")["Files"]
    assert files["Encrypted"] is True
    assert files["ThroughputMode"] == "elastic"
    assert files["BackupPolicy"] == {"Status": "ENABLED"}
    (rule,) = resources("AWS::EC2::SecurityGroup")["MountsSecurityGroup"]["SecurityGroupIngress"]
    assert (rule["FromPort"], rule["ToPort"]) == (2049, 2049)
    assert rule["SourceSecurityGroupId"] == {"Ref": "FunctionsSecurityGroup"}
    assert "CidrIp" not in rule
