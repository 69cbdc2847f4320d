"""sam, the plan of a deployment, the libraries, and the checks of a stack."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from contracts.errors import InvalidSetting
from contracts.stack_errors import DeployFailed, LibrariesMissing, QuotaTooSmall, SamNotFound, StackDamaged
from engines.aws import AwsEngine
from engines.aws_stack import checks, libraries_upload, plan, sam
from engines.aws_stack.account import Account
from fakes.deployed_stack import OUTPUTS, DeployedStack, FakeLambda, client_error
from libraries.lock import lock_digest


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose sam notes what it is asked."""
    folder = tmp_path / "checkout"
    program = folder / ".venv-sam" / "bin" / "sam"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$AWS_REGION $*" >> asked\n[ "$1" != "$FAIL" ]\n')
    program.chmod(0o700)
    (folder / "template.yaml").write_text(
        "Parameters:\n  WorkersCeiling:\n    Type: Number\n  NoticeEmail:\n    Type: String\n\n"
        "Resources:\n  Train:\n    Type: AWS::Serverless::Function\n  Table:\n    Type: AWS::DynamoDB::Table\n"
    )
    return folder


def test_the_checkouts_sam_comes_first(checkout: Path) -> None:
    assert sam.find_sam(checkout) == checkout / ".venv-sam" / "bin" / "sam"


def test_no_sam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SamNotFound, match="nor on the PATH") as caught:
        sam.find_sam(tmp_path)
    assert "aws-sam-cli" in caught.value.advice_given
    with pytest.raises(SamNotFound, match=r"there is no .*template\.yaml"):
        sam.find_template(tmp_path)


def test_sam_is_told_where_and_what(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, template = sam.find_sam(checkout), sam.find_template(checkout)
    given = sam.parse_parameters(["WorkersCeiling=4", "NoticeEmail="], template)
    environment = sam.program_environment("eu-west-1", "me")
    assert environment["AWS_PROFILE"] == "me"
    sam.build(program, template, environment=environment)
    sam.deploy(program, template, "mine", given, environment=environment, guided=False)
    build, deploy = (checkout / "asked").read_text().splitlines()
    assert build.startswith("eu-west-1 build --template-file ")
    assert "--stack-name mine" in deploy
    assert "--no-confirm-changeset" in deploy
    assert deploy.endswith('--parameter-overrides WorkersCeiling=4 NoticeEmail=""')


@pytest.mark.parametrize("step", ["build", "deploy"])
def test_a_step_that_fails_is_named(checkout: Path, step: str) -> None:
    program, template = sam.find_sam(checkout), sam.find_template(checkout)
    environment = sam.program_environment("eu-west-1", "") | {"FAIL": step}
    with pytest.raises(DeployFailed, match=f"sam {step}: it ended with exit code 1"):
        sam.build(program, template, environment=environment)
        sam.deploy(program, template, "mine", {}, environment=environment, guided=True)


def test_parameters_are_checked_before_anything_is_built(checkout: Path) -> None:
    template = sam.find_template(checkout)
    with pytest.raises(InvalidSetting, match="'Workers', expected one of WorkersCeiling, NoticeEmail"):
        sam.parse_parameters(["Workers=4"], template)
    with pytest.raises(InvalidSetting, match="expected NAME=VALUE"):
        sam.parse_parameters(["WorkersCeiling"], template)


@pytest.mark.parametrize("name", ["", "-x", "a_b", "1a", "a" * 101])
def test_stack_names_that_cloudformation_refuses(name: str) -> None:
    with pytest.raises(InvalidSetting, match="--stack-name"):
        sam.check_stack_name(name)


def test_a_new_stacks_functions_must_have_names_that_lambda_takes() -> None:
    assert sam.check_new_stack_name("a" * 46) == "a" * 46
    with pytest.raises(InvalidSetting, match="has 47 characters, expected at most 46"):
        sam.check_new_stack_name("a" * 47)


def test_our_own_template_is_read_as_it_is() -> None:
    template = sam.find_template().read_text()
    assert "WorkersCeiling" in sam.template_parameters(template)
    counts = sam.resource_counts(template)
    assert counts["AWS::DynamoDB::Table"] == 1
    lines = plan.made(counts)
    assert "9 functions" in lines
    assert sum(int(line.split()[0]) for line in lines) == counts.total()


# --- libraries ---------------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An archive that lies ready; the list notes who was asked for one."""
    asked: list[str] = []
    path = tmp_path / "cc.tar.zst"
    path.write_bytes(b"libraries")
    contents = SimpleNamespace(lock=lock_digest(), architecture="x86_64")
    ready = SimpleNamespace(
        path=path,
        key="libraries/cc.tar.zst",
        manifest=SimpleNamespace(contents=contents),
        pointer=lambda: {"digest": "cc", "key": "libraries/cc.tar.zst", "bytes": 9},
    )

    def built(_folder: Path, architecture: str) -> Any:
        asked.append(architecture)
        return ready

    monkeypatch.setattr(libraries_upload, "built", built)
    return asked


def quiet(*_: Any) -> Any:
    return lambda _bytes: None


def test_libraries_are_uploaded_once(engine: AwsEngine, stack: DeployedStack, archive: list[str]) -> None:
    assert libraries_upload.bring(engine, quiet, quiet) == "cc"
    assert libraries_upload.bring(engine, quiet, quiet, trusted="cc") == "cc"
    libraries_upload.install(engine, "cc", quiet)
    assert archive == ["x86_64"]
    assert engine.bucket.read_json("libraries/current.json") == {
        "digest": "cc", "key": "libraries/cc.tar.zst", "bytes": 9, "lock": lock_digest(), "architecture": "x86_64",
    }  # fmt: skip
    assert stack.lambda_.events("install-libraries") == []
    assert checks.check_libraries(engine).startswith("cc, 0 MB, x86_64")


@pytest.mark.parametrize("answer", [{"digest": "cc"}, {"digest": "other"}])
def test_libraries_on_the_file_system_are_installed(fake_lambda: FakeLambda, answer: dict[str, str]) -> None:
    stack = DeployedStack(fake_lambda, OUTPUTS | {"LibrariesSource": "efs"})
    stack.lambda_.functions["install-libraries"] = lambda _: answer
    engine = AwsEngine.open(Account(), "lambdafit")
    if answer["digest"] == "cc":
        libraries_upload.install(engine, "cc", quiet)
    else:
        with pytest.raises(DeployFailed, match="expected that cc is installed"):
            libraries_upload.install(engine, "cc", quiet)
    assert len(stack.lambda_.events("install-libraries")) == 1


# --- checks ------------------------------------------------------------------------------------------------


def nobody(*_: Any) -> None:
    raise AssertionError("every function answers at once")


def test_nothing_is_wrong(engine: AwsEngine) -> None:
    found = {check.name: check.look() for check in checks.stack_checks(engine, nobody)}
    assert list(found) == ["table", "stream", "quotas", "functions", "libraries", "data sets"]
    assert found["functions"] == "prepare, train, combine, predict answer, and write to fs-0123456789abcdef0"
    assert found["data sets"].startswith("none yet")
    assert "arn:aws:" in checks.account_check(engine.account).look()


def test_a_table_without_a_stream(engine: AwsEngine) -> None:
    client = boto3.client("dynamodb", region_name="us-east-1")
    client.update_table(TableName="lambdafit-table", StreamSpecification={"StreamEnabled": False})
    with pytest.raises(StackDamaged, match="it has no stream of new images"):
        checks.check_table(engine)


@pytest.mark.parametrize("states", [[], ["Enabled"], ["Enabled", "Disabled"]])
def test_a_mapping_that_is_off(engine: AwsEngine, stack: DeployedStack, states: list[str]) -> None:
    stack.lambda_.mappings["conduct"] = states
    with pytest.raises(StackDamaged, match="function lambdafit-conduct: its event source mappings are"):
        checks.check_mappings(engine)


@pytest.mark.parametrize(
    ("unreserved", "reserved", "text"),
    [
        (10, None, "10 functions may run at once .*, expected 26"),
        (25, None, "25 functions"),
        (900, 8, "the train function has 8 reserved, expected 16"),
    ],
)
def test_quotas_below_the_workers(
    engine: AwsEngine, stack: DeployedStack, unreserved: int, reserved: int | None, text: str
) -> None:
    stack.lambda_.account_limit = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": unreserved}
    stack.lambda_.reserved = reserved
    with pytest.raises(QuotaTooSmall, match=text) as caught:
        checks.check_quotas(engine)
    assert "--parameter WorkersCeiling=" in caught.value.advice_given


@pytest.mark.parametrize("reserved", [None, 16])
def test_quotas_that_suffice(engine: AwsEngine, stack: DeployedStack, reserved: int | None) -> None:
    stack.lambda_.account_limit["UnreservedConcurrentExecutions"] = 26
    stack.lambda_.reserved = reserved
    assert "16 workers at most" in checks.check_quotas(engine)


@pytest.mark.parametrize(
    ("pointer", "text"),
    [
        ({"architecture": "arm64"}, "they are for arm64, expected x86_64"),
        ({"lock": "0123456789abcdef"}, "its pins are 0123456789ab"),
    ],
)
def test_libraries_that_this_code_does_not_want(
    engine: AwsEngine, stack: DeployedStack, pointer: dict[str, str], text: str
) -> None:
    whole = {"digest": "aa", "key": "libraries/aa.tar.zst", "bytes": 7, **pointer}
    stack.put("libraries/current.json", json.dumps(whole).encode())
    with pytest.raises(LibrariesMissing, match=text):
        checks.check_libraries(engine)


def test_a_function_that_must_not_be_called(engine: AwsEngine, stack: DeployedStack) -> None:
    stack.lambda_.refusals["predict"] = [client_error("AccessDeniedException")]
    from contracts.stack_errors import AccessDenied

    with pytest.raises(AccessDenied, match="function predict: AccessDeniedException on Invoke"):
        checks.check_functions(engine, nobody)


def test_sam_runs_with_this_python_under_its_own_name() -> None:
    path = sam.program_environment("us-east-1", "")["PATH"].split(os.pathsep)[0]
    assert (Path(path) / "python").exists()
