"""Every command on runs against a deployed stack, and every way in which the stack is not there."""

from __future__ import annotations

import base64
import io
import signal
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_helpers import RESULTS, RunsInStore, failed, finished, interrupted, last_line, start_in_stack, versioned

from cli.flags import RUN_ANSWER_KEYS
from cli.follow import Follower
from contracts.errors import NotFinite, RunNotFound
from contracts.stack_errors import AwsUnreachable
from fakes.deployed_stack import NAME, DeployedStack, client_error

CLOUD = ("--engine", "aws")


# --- train -------------------------------------------------------------------------------------------------


def test_a_run_is_started_in_the_stack_and_followed_to_its_end(invoke: Any, stack: DeployedStack) -> None:
    stack.ending = versioned(finished)
    result = invoke("train", "digits-mlp", "--workers", "2", "--set", "units=8", "--epochs", "2", *CLOUD)
    assert result.exit_code == 0, result.output
    (event,) = stack.lambda_.events("start")
    expected = {"start": True, "workers": 2, "epochs": 2, "recipe": "digits-mlp", "overrides": {"units": "8"}}
    assert event == event | expected
    assert event["data_folder"].startswith("datasets/digits-")
    assert f"{event['data_folder']}/meta.json" in stack.objects()
    assert sorted({name for name, _ in stack.lambda_.invoked}) == ["combine", "prepare", "start", "train"]
    assert "test accuracy" in result.stdout
    assert f"lambdafit runs show {event['run_id']} --engine aws" in result.stdout


def test_json_of_a_run_in_a_stack_is_that_of_any_run(invoke: Any, stack: DeployedStack) -> None:
    stack.ending = versioned(finished)
    found = last_line(invoke("train", "digits-mlp", "--workers", "2", "--stack-name", NAME, "--json"))
    assert tuple(found) == RUN_ANSWER_KEYS
    assert found == found | RESULTS | {"status": "FINISHED", "workers": 2}


def test_a_run_that_fails_ends_as_on_this_machine(invoke: Any, stack: DeployedStack) -> None:
    stack.ending = versioned(failed(NotFinite("run r-1 round 3 worker 0", "the loss is nan")))
    result = invoke("train", "digits-mlp", *CLOUD)
    assert result.exit_code == 1
    assert "E201 NotFinite" in result.stderr
    assert "lambdafit runs resume" in result.stderr


@pytest.mark.parametrize("chosen", ["variable", "option"])
def test_detached_it_is_started_and_left_to_the_stack(
    invoke: Any, stack: DeployedStack, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    if chosen == "variable":
        monkeypatch.setenv("LAMBDAFIT_STACK", NAME)
    place = () if chosen == "variable" else ("--stack-name", NAME)
    result = invoke("train", "digits-mlp", "--detach", *place)
    assert result.exit_code == 0, result.output
    run_id = result.stdout.strip()
    assert stack.store.load_run(run_id).status == "PENDING"
    suffix = "" if chosen == "variable" else f" --stack-name {NAME}"
    assert f"lambdafit watch {run_id}{suffix}\n" in result.stderr
    found = last_line(invoke("train", "digits-mlp", "--detach", "--json", *place))
    assert tuple(found) == RUN_ANSWER_KEYS
    assert found["status"] == "RUNNING"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_watching_and_not_the_run(
    invoke: Any, stack: DeployedStack, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr("cli.watch_run.time.sleep", lambda _seconds: signal.raise_signal(number))
    stack.ending = versioned(interrupted)
    result = invoke("train", "digits-mlp", *CLOUD, "--json")
    assert result.exit_code == 130
    assert "goes on. `lambdafit runs stop" in result.stderr
    found = last_line(result)
    assert (found["status"], found["reason"], found["error"]) == ("RUNNING", None, None)
    assert not stack.store.load_run(found["run_id"]).ended


def test_an_own_recipe_and_its_data_are_brought_first(invoke: Any, stack: DeployedStack, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from training.recipes.digits_mlp import recipe\n")
    stack.lambda_.functions["start"] = lambda event: stack._start({**event, "recipe": "digits-mlp"} | {
        "recipe_summary": None})  # fmt: skip
    result = invoke("train", "mine.py", "--detach", *CLOUD)
    assert result.exit_code == 0, result.output
    (event,) = stack.lambda_.events("start")
    assert stack.objects("recipes/") == [event["recipe_summary"]["location"]]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nothing"], "E101 UnknownRecipe"),
        (["digits-mlp", "--workers", "5000"], "E103 TooManyWorkers"),
        (["digits-mlp", "--set", "units=many"], "E102 InvalidSetting"),
        (["digits-mlp", "--max-cost-usd", "0.0001"], "E102 InvalidSetting: --max-cost-usd"),
        (["digits-mlp", "--engine", "ray"], "E102 InvalidSetting: --engine: 'ray', expected one of local, aws"),
        (["digits-mlp", "--engine", "local", "--stack-name", "x"], "E102 InvalidSetting: --engine local"),
    ],
)
def test_bad_input_is_refused_before_anything_is_brought_or_asked(
    invoke: Any, stack: DeployedStack, arguments: list[str], text: str
) -> None:
    before = stack.objects()
    result = invoke("train", *CLOUD, *arguments)
    assert result.exit_code == 3, result.output
    assert text in result.stderr
    assert stack.objects() == before
    assert stack.lambda_.invoked == []


def test_no_libraries_no_run(invoke: Any, stack: DeployedStack) -> None:
    stack.s3.delete_object(Bucket=stack.bucket, Key="libraries/current.json")
    result = invoke("train", "digits-mlp", *CLOUD)
    assert result.exit_code == 3
    assert "E446 LibrariesMissing" in result.stderr
    assert stack.lambda_.invoked == []


def test_functions_that_wake_are_told_of(invoke: Any, stack: DeployedStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.aws_stack.functions.BETWEEN_TRIES_S", 0.0)
    stack.lambda_.refusals["train"] = [client_error("ResourceNotReadyException", message="It is inactive")] * 3
    result = invoke("train", "digits-mlp", "--detach", *CLOUD)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("Waiting for the function train: ") == 1
    assert "It is inactive" in result.stderr


# --- the stack is not there --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [
    ["train", "digits-mlp"], ["runs", "list"], ["runs", "show", "latest"], ["runs", "stop", "latest"],
    ["runs", "resume", "latest"], ["runs", "rm", "latest", "-y"], ["watch", "latest"], ["logs", "latest"],
    ["predict", "latest", "a.png"], ["evaluate", "latest"], ["export", "latest", "--to", "keras"],
    ["data", "list"], ["data", "push", "digits"], ["undeploy", "-y"],
])  # fmt: skip
def test_no_such_stack(invoke: Any, stack: DeployedStack, command: list[str]) -> None:
    result = invoke(*command, "--stack-name", "other")
    assert result.exit_code == 3, result.output
    assert "E431 StackNotFound: stack other in us-east-1" in result.stderr


def test_no_credentials(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("CONFIG", "SHARED_CREDENTIALS"):
        monkeypatch.setenv(f"AWS_{name}_FILE", "/nonexistent")
    result = invoke("runs", "list", "--stack-name", "x", "--region", "eu-west-1")
    assert result.exit_code == 3
    assert "E434 CredentialsMissing" in result.stderr


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("ExpiredTokenException", "E434 CredentialsMissing"),
        ("AccessDeniedException", "E435 AccessDenied"),
        ("ServiceUnavailable", "E437 AwsUnreachable"),
    ],
)
def test_what_aws_refuses_while_a_run_is_looked_at(
    invoke: Any, stack: DeployedStack, monkeypatch: pytest.MonkeyPatch, code: str, text: str
) -> None:
    def refuse(*_arguments: Any) -> None:
        raise client_error(code, "Query")

    monkeypatch.setattr("stores.dynamodb.DynamoStore.list_runs", refuse)
    result = invoke("runs", "list", *CLOUD)
    assert result.exit_code == 3
    assert text in result.stderr
    assert "Unexpected" not in result.stderr


def test_a_run_of_another_place_is_not_found_here(invoke: Any, stack: DeployedStack, stored: RunsInStore) -> None:
    stored.add("r-0001")
    result = invoke("runs", "show", "r-0001", *CLOUD)
    assert result.exit_code == 3
    assert "E438 RunOfOtherStack: run r-0001: no run in stack lambdafit in us-east-1" in result.stderr
    assert "--engine local" in result.stderr
    assert "E304" in invoke("runs", "show", "latest", *CLOUD).stderr


# --- runs --------------------------------------------------------------------------------------------------


def test_runs_are_listed_and_shown(invoke: Any, stack: DeployedStack) -> None:
    start_in_stack(stack, "r-0001")
    start_in_stack(stack, "r-0002", interrupted)
    found = {run["run_id"]: run["state"] for run in last_line(invoke("runs", "list", "--json", *CLOUD))["runs"]}
    assert found == {"r-0001": "finished", "r-0002": "running"}
    shown = last_line(invoke("runs", "show", "0001", "--json", *CLOUD))
    assert shown["test_accuracy"] == RESULTS["test_accuracy"]
    running = invoke("runs", "show", "r-0002", *CLOUD)
    assert "running" in running.stdout
    assert "resume" not in running.stdout


def test_a_stop_is_one_write(invoke: Any, stack: DeployedStack) -> None:
    start_in_stack(stack, "r-0001", interrupted)
    result = invoke("runs", "stop", "latest", *CLOUD)
    assert "`lambdafit runs resume r-0001 --engine aws` goes on" in result.stdout
    assert stack.store.load_run("r-0001").status == "CANCELLED"
    assert "had ended before" in invoke("runs", "stop", "latest", *CLOUD).stdout


def test_a_resume_wakes_the_functions_and_follows(
    invoke: Any, stack: DeployedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_in_stack(stack, "r-0001", failed(NotFinite("run r-1", "nan")))

    def end(_seconds: float) -> None:
        run = stack.store.load_run("r-0001")
        assert run.status == "RUNNING"
        assert stack.store.save_run(versioned(finished)(run))

    monkeypatch.setattr("cli.watch_run.time.sleep", end)
    result = invoke("runs", "resume", "latest", "--max-cost-usd", "20", *CLOUD)
    assert result.exit_code == 0, result.output
    assert stack.store.load_run("r-0001").settings.max_cost_usd == 20
    assert {name for name, _ in stack.lambda_.invoked} == {"prepare", "train", "combine"}
    assert "E110 NotResumable" in invoke("runs", "resume", "latest", *CLOUD).stderr


def test_a_removal_takes_files_exports_and_records(invoke: Any, stack: DeployedStack) -> None:
    start_in_stack(stack, "r-0001")
    start_in_stack(stack, "r-0002", interrupted)
    stack.put("exports/r-0001/a.keras", b"model")
    stack.lambda_.functions["predict"] = lambda event: {"run_id": event["run_id"], "removed": True}
    result = invoke("runs", "rm", "r-0001", "r-0002", "-y", *CLOUD)
    assert "E448 RunAtWork: run r-0002" in result.stderr
    assert invoke("runs", "rm", "r-0001", *CLOUD, stdin="y\n").stdout.splitlines()[-1] == "Removed r-0001."
    assert stack.lambda_.events("predict") == [{"task": "remove", "run_id": "r-0001"}]
    assert stack.objects("exports/") == []
    with pytest.raises(RunNotFound):
        stack.store.load_run("r-0001")
    assert invoke("runs", "rm", "r-0001", "-y", *CLOUD).exit_code == 0  # what a function wrote later
    stack.lambda_.functions["predict"] = lambda event: {"run_id": event["run_id"], "removed": False}
    nothing = invoke("runs", "rm", "r-9999", "-y", *CLOUD)
    assert nothing.exit_code == 3
    assert "E438 RunOfOtherStack: run r-9999: stack lambdafit in us-east-1 has nothing of it" in nothing.stderr


@pytest.mark.parametrize("lost", [3, 1_000])
def test_a_lost_connection_ends_the_watching_only_if_it_stays(
    invoke: Any, stack: DeployedStack, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    start_in_stack(stack, "r-0001", interrupted)
    clock = [0.0]
    looks = [0]
    real = Follower.look

    def look(self: Follower) -> Any:
        looks[0] += 1
        if 1 < looks[0] <= 1 + lost:
            raise AwsUnreachable("table", "no answer")
        if looks[0] == 2 + lost:
            run = stack.store.load_run("r-0001")
            assert stack.store.save_run(versioned(finished)(run))
        return real(self)

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(Follower, "look", look)
    fake_time = SimpleNamespace(sleep=sleep, monotonic=lambda: clock[0], time=time.time)
    monkeypatch.setattr("cli.watch_run.time", fake_time)
    result = invoke("watch", "latest", *CLOUD)
    assert result.exit_code == (0 if lost == 3 else 3), result.output
    if lost == 3:
        assert "test accuracy" in result.stdout
    else:
        assert "E437 AwsUnreachable" in result.stderr
        assert clock[0] >= 120


def test_watching_a_run_of_the_stack(invoke: Any, stack: DeployedStack) -> None:
    start_in_stack(stack)
    assert "test accuracy" in invoke("watch", "latest", *CLOUD).stdout


# --- models ------------------------------------------------------------------------------------------------


def test_pictures_travel_in_the_call(
    invoke: Any, stack: DeployedStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_in_stack(stack)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"picture " + name.encode())

    def predict(event: Mapping[str, Any]) -> dict[str, Any]:
        names = [picture["name"] for picture in event["pictures"]]
        found = [{"image": name, "class_name": "7", "confidence": 0.9, "top": [{}]} for name in names]
        return {"run_id": "r-0001", "round_index": 4, "predictions": found}

    stack.lambda_.functions["predict"] = predict
    found = last_line(invoke("predict", "latest", "a.png", "b.png", "--json", *CLOUD))
    assert [one["image"] for one in found["predictions"]] == ["a.png", "b.png"]
    (event,) = stack.lambda_.events("predict")
    assert base64.b64decode(event["pictures"][1]["content"]) == b"picture b.png"
    monkeypatch.setattr("cli.stack_access.LARGEST_CALL_BYTES", 20)
    assert len(last_line(invoke("predict", "latest", "a.png", "b.png", "--json", *CLOUD))["predictions"]) == 2
    assert len(stack.lambda_.events("predict")) == 3
    monkeypatch.setattr("cli.stack_access.LARGEST_CALL_BYTES", 10)
    assert "E425 EventTooLarge: a.png" in invoke("predict", "latest", "a.png", *CLOUD).stderr


def test_a_model_is_made_and_downloaded(invoke: Any, stack: DeployedStack, tmp_path: Path) -> None:
    start_in_stack(stack)

    def export(event: Mapping[str, Any]) -> dict[str, Any]:
        key = f"exports/r-0001/{event['name']}"
        stack.put(key, b"a model")
        return {"run_id": "r-0001", "key": key, "bytes": 7}

    stack.lambda_.functions["predict"] = export
    result = invoke("export", "latest", "--to", "keras", "--output", "mine.keras", *CLOUD)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "mine.keras").read_bytes() == b"a model"
    assert stack.objects("exports/") == []


def test_curves_come_as_a_folder(invoke: Any, stack: DeployedStack, tmp_path: Path) -> None:
    start_in_stack(stack)

    def curves(event: Mapping[str, Any]) -> dict[str, Any]:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as stream:
            stream.writestr("rounds/events", b"curve")
            stream.writestr("../../escaped", b"no")
        key = f"exports/r-0001/{event['name']}"
        stack.put(key, archive.getvalue())
        return {"run_id": "r-0001", "key": key}

    stack.lambda_.functions["predict"] = curves
    assert invoke("export", "latest", "--to", "tensorboard", "--output", "curves", *CLOUD).exit_code == 0
    assert (tmp_path / "curves" / "rounds" / "events").read_bytes() == b"curve"
    assert (tmp_path / "curves" / "escaped").exists()
    assert not (tmp_path.parent / "escaped").exists()


def test_an_export_that_is_not_of_this_run_is_refused(invoke: Any, stack: DeployedStack, tmp_path: Path) -> None:
    start_in_stack(stack)
    stack.lambda_.functions["predict"] = lambda _: {"key": "libraries/aa.tar.zst"}
    result = invoke("export", "latest", "--to", "keras", *CLOUD)
    assert "E109 InvalidMessage" in result.stderr
    assert not list(tmp_path.glob("*.keras"))


def test_evaluate(invoke: Any, stack: DeployedStack) -> None:
    start_in_stack(stack)
    answer = {"run_id": "r-0001", "round_index": 4, "test_loss": 0.3, "parameters_sha256": "ab"}
    stack.lambda_.functions["predict"] = lambda _: answer
    assert last_line(invoke("evaluate", "latest", "--json", *CLOUD)) == answer
    stack.lambda_.functions["predict"] = lambda _: (_ for _ in ()).throw(NotFinite("run r-0001", "nan"))
    assert "E201 NotFinite: run r-0001: nan" in invoke("evaluate", "latest", *CLOUD).stderr
