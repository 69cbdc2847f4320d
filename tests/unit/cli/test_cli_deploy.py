"""`deploy`, `undeploy` and `doctor --engine aws`."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from cli_helpers import last_line

from cli.place import Place
from contracts.errors import InvalidSetting
from engines.aws_stack import libraries_upload
from engines.aws_stack.account import Account
from engines.aws_stack.leftovers import Left
from engines.aws_stack.undeploy import Undeployment
from fakes.deployed_stack import NAME, OUTPUTS, REGION, DeployedStack, client_error
from libraries.lock import lock_digest
from runs.idle import idle_cost
from runs.words import usd

CHECKOUT = Path(__file__).parents[3]
SOURCE = CHECKOUT / "src"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What sam was asked to do; every step works."""
    commands: list[list[str]] = []
    monkeypatch.setattr("engines.aws_stack.sam.find_sam", lambda *_: Path("/opt/sam"))
    monkeypatch.setattr("engines.aws_stack.sam._run", lambda command, *_: commands.append(list(command)))
    archive = tmp_path / "cc.tar.zst"
    archive.write_bytes(b"libraries")
    ready = SimpleNamespace(
        path=archive,
        key="libraries/cc.tar.zst",
        manifest=SimpleNamespace(contents=SimpleNamespace(lock=lock_digest(), architecture="x86_64")),
        pointer=lambda: {"digest": "cc", "key": "libraries/cc.tar.zst", "bytes": 9},
    )
    monkeypatch.setattr(libraries_upload, "built", lambda *_: ready)
    return commands


def test_a_deployment_says_what_it_makes_and_costs_and_asks(
    invoke: Any, stack: DeployedStack, asked: list[list[str]]
) -> None:
    result = invoke("deploy", "--region", REGION, "--parameter", "WorkersCeiling=4", stdin="y\n")
    assert result.exit_code == 0, result.output
    for text in (
        f"updates the stack {NAME} in {REGION}, account 123456789012", "9 functions", "with WorkersCeiling=4",
        "a month in which nothing runs", "CloudWatch", f"together {usd(idle_cost(region=REGION).total_usd)}",
        "Go on?",
        "lambdafit train digits-mlp --workers 4 --region us-east-1",
    ):  # fmt: skip
        assert text in " ".join(result.stdout.split())
    assert [command[1] for command in asked] == ["build", "deploy", "deploy"]
    assert asked[1][-2:] == ["--parameter-overrides", "WorkersCeiling=4"]
    assert asked[2][-2:] == ["--parameter-overrides", "LibrariesDigest=cc"]
    assert "datasets/digits.json" in stack.objects()
    assert "libraries/cc.tar.zst" in stack.objects()
    assert "quotas" in result.stdout


def test_a_stack_that_knows_its_libraries_is_deployed_once(
    invoke: Any, stack: DeployedStack, asked: list[list[str]]
) -> None:
    assert invoke("deploy", "--yes", "--parameter", "LibrariesDigest=cc").exit_code == 0
    assert [command[1] for command in asked] == ["build", "deploy"]


def test_a_deployment_that_is_not_wanted_does_nothing(
    invoke: Any, stack: DeployedStack, asked: list[list[str]]
) -> None:
    before = stack.objects()
    result = invoke("deploy", stdin="n\n")
    assert result.exit_code == 130
    assert asked == []
    assert stack.objects() == before


def test_the_layer_is_built_for_the_architecture_that_is_deployed(
    invoke: Any, stack: DeployedStack, asked: list[list[str]]
) -> None:
    assert invoke("deploy", "--yes", "--parameter", "Architecture=arm64").exit_code == 0
    assert asked[0][-2:] == ["--parameter-overrides", "Architecture=arm64"]


def test_json_of_a_deployment(invoke: Any, stack: DeployedStack, asked: list[list[str]]) -> None:
    found = last_line(invoke("deploy", "--yes", "--json"))
    assert (found["stack_name"], found["libraries"], found["datasets"]) == (NAME, "cc", ["digits"])
    assert found["outputs"]["TableName"] == "lambdafit-table"


def test_guided_leaves_the_asking_to_sam(invoke: Any, stack: DeployedStack, asked: list[list[str]]) -> None:
    result = invoke("deploy", "--guided")
    assert result.exit_code == 0, result.output
    assert "--guided" in asked[1]
    assert "Go on?" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--parameter", "Workers=4"], "E102 InvalidSetting: --parameter: 'Workers'"),
        (["--stack-name", "a_b"], "E102 InvalidSetting: --stack-name"),
        (["--engine", "local"], "Invalid value for '--engine'"),
    ],
)
def test_a_deployment_of_nonsense(invoke: Any, stack: DeployedStack, arguments: list[str], text: str) -> None:
    result = invoke("deploy", "--yes", *arguments)
    assert result.exit_code in (2, 3)
    assert text in result.stderr


def test_no_sam(invoke: Any, stack: DeployedStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.aws_stack.sam.find_sam.__defaults__", (tmp_path,))
    monkeypatch.setenv("PATH", str(tmp_path))
    result = invoke("deploy", "--yes")
    assert result.exit_code == 3
    assert "E443 SamNotFound" in result.stderr
    assert "uv tool install aws-sam-cli" in result.stderr


def test_a_first_deployment_that_failed_has_to_go_first(
    invoke: Any, stack: DeployedStack, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.deploy_screen.describe", lambda *_: {"StackStatus": "ROLLBACK_COMPLETE"})
    result = invoke("deploy", "--yes")
    assert "E444 DeployFailed" in result.stderr
    assert f"lambdafit undeploy --stack-name {NAME}" in result.stderr
    assert asked == []


# --- undeploy ----------------------------------------------------------------------------------------------


@pytest.fixture
def no_backups(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stack's template here has no file system, and so no backups."""
    monkeypatch.setattr("engines.aws_stack.undeploy.POLL_S", 0.0)


def test_a_stack_is_taken_away_once_its_name_was_typed(invoke: Any, stack: DeployedStack, no_backups: None) -> None:
    stack.put("datasets/x", b"x")
    refused = invoke("undeploy", stdin="yes\n")
    assert refused.exit_code == 130
    assert "Nothing was deleted." in refused.stderr
    assert stack.objects("datasets/") == ["datasets/x"]
    result = invoke("undeploy", stdin=f"{NAME}\n")
    assert result.exit_code == 0, result.output
    assert f"Nothing is left of stack {NAME} in {REGION}." in result.stdout
    assert boto3.client("s3", region_name=REGION).list_buckets()["Buckets"] == []
    assert last_line(invoke("undeploy", "-y", "--json"))["left"] == []  # again: CloudFormation remembers its name


def test_what_is_left_is_named(
    invoke: Any, stack: DeployedStack, no_backups: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Undeployment, "remove_leftovers", lambda _self: [Left("backup", "arn:x", "vault")])
    result = invoke("undeploy", "--yes", "--json")
    assert result.exit_code == 3
    assert "E445 UndeployIncomplete: stack lambdafit in us-east-1: still there: backup arn:x vault" in result.stderr
    assert '"left": ["backup arn:x vault"]' in result.stdout


def test_a_stack_of_something_else_is_left_alone(invoke: Any, stack: DeployedStack) -> None:
    resources = ", ".join(f'"T{index}": {{"Type": "AWS::SNS::Topic"}}' for index in range(5))
    stack.cloudformation.create_stack(StackName="others", TemplateBody=f'{{"Resources": {{{resources}}}}}')
    result = invoke("undeploy", "--stack-name", "others", "--yes")
    assert result.exit_code == 3
    assert "is not one of lambdafit's" in result.stderr
    assert stack.cloudformation.describe_stacks(StackName="others")["Stacks"]


# --- doctor ------------------------------------------------------------------------------------------------


def test_the_doctor_finds_a_healthy_stack(invoke: Any, stack: DeployedStack) -> None:
    result = invoke("doctor", "--engine", "aws")
    assert result.exit_code == 0, result.output
    for text in ("credentials", "version 0.", "with a stream", "16 workers at most", "from s3", "data sets"):
        assert text in result.stdout
    found = last_line(invoke("doctor", "--stack-name", NAME, "--json"))
    assert found["ok"] is True
    names = [check["name"] for check in found["checks"]]
    assert names == ["sam", "credentials", "stack", "table", "stream", "quotas", "functions", "libraries", "data sets"]


def test_the_doctor_names_each_failed_check_with_its_fix(invoke: Any, stack: DeployedStack) -> None:
    stack.lambda_.account_limit["UnreservedConcurrentExecutions"] = 10
    stack.lambda_.mappings["monitor"] = ["Disabled"]
    stack.s3.delete_object(Bucket=stack.bucket, Key="libraries/current.json")
    stack.lambda_.refusals["predict"] = [client_error("AccessDeniedException")]
    result = invoke("doctor", "--engine", "aws", "--json")
    assert result.exit_code == 3
    bad = {check["name"]: check for check in last_line(result)["checks"] if check["state"] == "bad"}
    assert {name: check["found"].split()[0] for name, check in bad.items()} == {
        "quotas": "E442", "stream": "E447", "libraries": "E446", "functions": "E435",
    }  # fmt: skip
    assert "WorkersCeiling=1" in bad["quotas"]["fix"]
    assert all(check["fix"] for check in bad.values())


def test_what_only_an_administrator_may_look_at_is_no_failure(
    invoke: Any, stack: DeployedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise client_error("AccessDeniedException", "ListEventSourceMappings")

    monkeypatch.setattr(stack.lambda_, "list_event_source_mappings", refuse)
    result = invoke("doctor", "--engine", "aws", "--json")
    assert result.exit_code == 0
    assert [check["name"] for check in last_line(result)["checks"] if check["state"] == "note"][-1] == "stream"


@pytest.mark.parametrize("missing", ["stack", "credentials"])
def test_the_doctor_stops_where_nothing_more_can_be_known(
    invoke: Any, stack: DeployedStack, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "credentials":
        fake: Any = SimpleNamespace()
        fake.get_caller_identity = lambda: (_ for _ in ()).throw(client_error("ExpiredToken", "GetCallerIdentity"))
        real = Account.client
        monkeypatch.setattr(Account, "client", lambda self, name: fake if name == "sts" else real(self, name))
    found = last_line(invoke("doctor", "--stack-name", "other", "--json"))
    assert found["ok"] is False
    assert found["checks"][-1]["name"] == missing
    assert found["checks"][-1]["found"].split()[0] == ("E431" if missing == "stack" else "E434")


# --- where -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "variable", "cloud", "name", "suffix"),
    [
        (Place(), "", False, "lambdafit", ""),
        (Place(), "mine", True, "mine", ""),
        (Place(engine="local"), "mine", False, "mine", " --engine local"),
        (Place(engine="aws"), "", True, "lambdafit", " --engine aws"),
        (Place(stack_name="x", region="eu-west-1"), "mine", True, "x", " --stack-name x --region eu-west-1"),
        (Place(profile="me"), "", True, "lambdafit", " --profile me"),
    ],
)
def test_where_a_command_works(
    monkeypatch: pytest.MonkeyPatch, place: Place, variable: str, cloud: bool, name: str, suffix: str
) -> None:
    monkeypatch.setenv("LAMBDAFIT_STACK", variable)
    assert (place.is_cloud, place.stack, place.suffix) == (cloud, name, suffix)


@pytest.mark.parametrize("place", [Place(engine="ray"), Place(engine="local", region="x")])
def test_where_no_command_works(place: Place) -> None:
    with pytest.raises(InvalidSetting, match="--engine"):
        _ = place.is_cloud


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["deploy", "--help"], ["runs", "list"]])
def test_boto3_is_imported_only_for_a_stack(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys, cli.main\n"
        f"try: cli.main.main({arguments!r})\n"
        "except SystemExit: pass\n"
        "sys.exit(', '.join(sorted({'boto3', 'botocore'} & set(sys.modules))))\n"
    )
    variables = {"PYTHONPATH": str(SOURCE), "LAMBDAFIT_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_every_output_that_is_read_is_in_the_template() -> None:
    template = (CHECKOUT / "template.yaml").read_text()
    declared = {line.split(":")[0].strip() for line in io.StringIO(template.partition("\nOutputs:\n")[2])}
    assert set(OUTPUTS) <= declared
