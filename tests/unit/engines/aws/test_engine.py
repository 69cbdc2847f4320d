"""Runs that are started, stopped and resumed in a stack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from msgspec.structs import replace

from contracts.errors import (
    BudgetReached,
    CodeChanged,
    HomeNotWritable,
    InvalidMessage,
    NotResumable,
    RecipeFailed,
    TooManyWorkers,
    WeightsNotFound,
    WeightsUnfit,
)
from contracts.records import Run
from contracts.stack_errors import StackVersionDiffers
from engines.aws import AwsEngine
from fakes.deployed_stack import DeployedStack, client_error
from runs import framework_versions, recipes, weights
from runs.decide import ended
from runs.describe_recipe import DataPlaces

DIGITS = recipes.describe("digits-mlp", {})


def start(engine: AwsEngine, **request: Any) -> str:
    return engine.start({"workers": 2, **request}, DIGITS, {"units": "8"}, "datasets/digits-ab")


def test_a_start_says_all_that_was_asked(engine: AwsEngine, stack: DeployedStack) -> None:
    run_id = start(engine, epochs=3)
    (event,) = stack.lambda_.events("start")
    assert event == {
        "start": True,
        "workers": 2,
        "epochs": 3,
        "recipe": "digits-mlp",
        "overrides": {"units": "8"},
        "run_id": run_id,
        "data_folder": "datasets/digits-ab",
    }
    settings = stack.store.load_run(run_id).settings
    assert (settings.epochs, settings.recipe_settings["units"]) == (3, 8)


def test_a_start_whose_answer_was_lost_is_asked_for_again_under_the_same_name(
    engine: AwsEngine, stack: DeployedStack
) -> None:
    stack.lambda_.refusals["start"] = [client_error("ServiceException")]
    run_id = start(engine)
    assert [event["run_id"] for event in stack.lambda_.events("start")] == [run_id, run_id]


def test_a_request_that_the_stack_refuses(engine: AwsEngine, stack: DeployedStack) -> None:
    record = TooManyWorkers("--workers", "2000").record()
    stack.lambda_.functions["start"] = lambda _: {"error": {name: getattr(record, name) for name in (
        "number", "name", "message", "advice", "retryable", "exit_code")}}  # fmt: skip
    with pytest.raises(TooManyWorkers, match="--workers: 2000"):
        start(engine)


def test_an_answer_about_something_else(engine: AwsEngine, stack: DeployedStack) -> None:
    stack.lambda_.functions["start"] = lambda _: {"run_id": "r-other"}
    with pytest.raises(InvalidMessage, match="function start: it answers"):
        start(engine)


def test_an_own_recipe_goes_by_its_digest(engine: AwsEngine, stack: DeployedStack, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from training.recipes.digits_mlp import recipe\n")
    summary = recipes.describe(str(path), {})
    engine.keep_recipe(str(path), summary)
    assert stack.objects("recipes/") == [f"recipes/{summary.digest}.py"]
    assert engine.bucket.read(summary.location) == path.read_bytes()
    stack.lambda_.functions["start"] = lambda event: {"run_id": event["run_id"]}
    engine.start({}, summary, {"units": "8"}, "datasets/digits-ab")
    (event,) = stack.lambda_.events("start")
    assert event["recipe_summary"]["location"] == summary.location
    assert "recipe" not in event
    path.write_text("recipe = 1\n")
    with pytest.raises(RecipeFailed, match="changed while it was being read"):
        engine.keep_recipe(str(path), summary)


def weights_of(tmp_path: Path, content: bytes) -> weights.Wanted:
    (tmp_path / "x.h5").write_bytes(content)
    places = DataPlaces("", str(tmp_path))
    return weights.describe("cifar10-vgg19", {"weights": str(tmp_path / "x.h5")}, places, checks_data=False)


def test_weights_go_by_their_digest_and_once(engine: AwsEngine, stack: DeployedStack, tmp_path: Path) -> None:
    wanted = weights_of(tmp_path, b"pretend")
    uploads: list[tuple[str, int]] = []

    def begin(what: str, length: int) -> Any:
        uploads.append((what, length))
        return lambda _: None

    for _ in range(2):
        engine.keep_weights(wanted, begin)
        assert stack.objects("weights/") == sorted([wanted.location, weights.mark(wanted)])
    assert uploads == [("weights x.h5", 7)]
    assert engine.bucket.read(wanted.location) == b"pretend"
    assert engine.has_object(weights.mark(wanted))
    run_id = engine.start({"workers": 2}, wanted.summary, wanted.overrides, "datasets/cifar-10-ab")
    settings = stack.store.load_run(run_id).settings
    assert settings.recipe_settings["weights"] == wanted.location
    framework = framework_versions.on_a_stack()
    assert settings.backbone_digest == framework_versions.digest_with(wanted.summary.backbone_digest, framework) != ""
    (tmp_path / "x.h5").write_bytes(b"others!")
    with pytest.raises(WeightsUnfit, match="changed while it was being read"):
        engine.keep_weights(wanted, begin)


def test_weights_that_were_brought_before_go_by_their_path(engine: AwsEngine, tmp_path: Path) -> None:
    location = weights_of(tmp_path, b"pretend").location
    places = DataPlaces("", str(tmp_path))
    wanted = weights.describe("cifar10-vgg19", {"weights": location}, places, checks_data=False)
    with pytest.raises(WeightsNotFound, match=f"has no {location}"):
        engine.keep_weights(wanted, lambda *_: lambda _: None)
    engine.bucket.write(location, b"pretend")
    engine.keep_weights(wanted, lambda *_: lambda _: None)
    engine.keep_weights(weights.Wanted(DIGITS, {}), lambda *_: lambda _: None)


# --- stopped and resumed -----------------------------------------------------------------------------------


def change(stack: DeployedStack, run_id: str, **fields: Any) -> Run:
    run = stack.store.load_run(run_id)
    changed = replace(run, version=run.version + 1, **fields)
    assert stack.store.save_run(changed)
    return changed


def stream_records(stack: DeployedStack) -> list[dict[str, Any]]:
    """What the table's stream says, as the functions of the stack see it."""
    backend: Any = dynamodb_backends[ACCOUNT_ID]["us-east-1"]
    return [item.record["dynamodb"]["NewImage"] for item in backend.tables["lambdafit-table"].stream_shard.items]


def test_a_stop_and_a_resume_are_writes_that_the_stream_tells_of(engine: AwsEngine, stack: DeployedStack) -> None:
    run_id = start(engine)
    change(stack, run_id, status="RUNNING", started_at=1.0)
    assert engine.cancel(run_id).status == "CANCELLED"
    assert list(stack.store.open_run_ids()) == []
    before = len(stream_records(stack))
    assert engine.resume(run_id, {"max_cost_usd": 20.0}).status == "RUNNING"
    assert list(stack.store.open_run_ids()) == [run_id]
    woken = [image for image in stream_records(stack)[before:] if image["kind"]["S"] == "run"]
    assert [image["status"]["S"] for image in woken] == ["RUNNING"]


def test_a_resume_takes_the_stacks_limits_of_today(engine: AwsEngine, stack: DeployedStack) -> None:
    run_id = start(engine)
    settings = replace(stack.store.load_run(run_id).settings, memory_mb=2000, time_limit_s=60.0)
    budget = BudgetReached("run", "it is spent").record()
    change(stack, run_id, settings=settings, status="FAILED", reason="budget", error=budget)
    resumed = engine.resume(run_id, {"max_cost_usd": 20.0}).settings
    assert (resumed.memory_mb, resumed.time_limit_s, resumed.max_cost_usd) == (3008, 900.0, 20.0)


def test_what_cannot_go_on(engine: AwsEngine, stack: DeployedStack) -> None:
    run_id = start(engine)
    finished = stack.store.load_run(run_id)
    assert stack.store.save_run(ended(finished, "FINISHED", "epochs", 2_000.0))
    with pytest.raises(NotResumable):
        engine.resume(run_id, {})
    other = start(engine)
    change(stack, other, code_version="0.1.0+other")
    with pytest.raises(CodeChanged):
        engine.resume(other, {})


def test_the_file_system_is_out_of_reach(engine: AwsEngine) -> None:
    with pytest.raises(HomeNotWritable, match="it lies on the file system of stack lambdafit in us-east-1"):
        engine.services.files.read("runs/r-1/x")


def test_limits_are_the_stacks(engine: AwsEngine, stack: DeployedStack) -> None:
    limits = engine.limits()
    assert (limits.concurrency, limits.time_limit_s, limits.memory_mb) == (16, 900.0, 3008)


def test_no_engine_for_a_stack_of_another_version(stack: DeployedStack, monkeypatch: pytest.MonkeyPatch) -> None:
    from engines.aws_stack.account import Account

    monkeypatch.setattr("engines.aws_stack.stack.VERSION", "9.9.9")
    with pytest.raises(StackVersionDiffers, match="older version"):
        AwsEngine.open(Account(), "lambdafit")
