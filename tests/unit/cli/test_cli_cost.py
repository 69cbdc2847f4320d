"""`lambdafit cost` and `train --dry-run`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import RunsInStore, finished, interrupted, last_line
from msgspec.structs import replace

from contracts.records import FileRef, Run
from engines.local import LocalSettings
from runs import recipes
from runs.cost import transfer_cost_usd
from runs.describe_recipe import DataPlaces
from runs.planned_sizes import built_sizes
from runs.start import complete_settings

STATE = FileRef(path="s", bytes=20_000, count=20_000, parts=("0",))
FILES = {f"{axis}_{split}": {"bytes": 1_000, "digest": "0"} for axis in "xy" for split in ("train", "val", "test")}


def known(run: Run) -> Run:
    """Finished, its sizes recorded."""
    facts = {"train_examples": 1_438, "val_examples": 160, "test_examples": 199, "files": FILES}
    return replace(finished(run), data_facts=facts, parameter_count=4_810, initial_state=STATE)


def test_the_bill_has_every_service_and_its_assumptions(invoke: Any, stored: RunsInStore) -> None:
    stored.add("r-0001")
    stored.add_history("r-0001")
    result = invoke("cost", "latest")
    assert result.exit_code == 0, result.output
    for text in (
        "r-0001",
        "us-east-1",
        "Lambda",
        "DynamoDB",
        "CloudWatch",
        "c7i.xlarge",
        "p4d.24xlarge",
        "Assumptions",
    ):
        assert text in result.stdout


def test_the_bill_as_json_adds_up(invoke: Any, stored: RunsInStore) -> None:
    stored.add("r-0001")
    stored.add_history("r-0001")
    bill = last_line(invoke("cost", "r-0001", "--json"))
    assert bill["run_id"] == "r-0001"
    assert bill["total_usd"] == pytest.approx(sum(line["usd"] for line in bill["lines"]))
    assert set(bill["lines"][0]) >= {"group", "name", "amount", "unit", "price_usd", "usd", "estimated", "in_budget"}
    assert bill["price_date"] and bill["assumptions"] and len(bill["machines"]) == 3


def test_a_run_that_goes_on_has_a_bill(invoke: Any, stored: RunsInStore) -> None:
    stored.add("r-0001", interrupted)
    stored.add_history("r-0001")
    stored.claim("r-0001", 2, 2, "request")
    result = invoke("cost", "r-0001")
    assert result.exit_code == 0 and "so far" in result.stdout


def test_arm_is_cheaper(invoke: Any, stored: RunsInStore) -> None:
    stored.add("r-0001")
    stored.add_history("r-0001")
    x86, arm = (
        last_line(invoke("cost", "r-0001", "--architecture", kind, "--json"))["total_usd"]
        for kind in ("x86_64", "arm64")
    )
    assert arm < x86


def test_prices_of_an_unknown_region_say_so(invoke: Any, stored: RunsInStore) -> None:
    stored.add("r-0001")
    assert "there are none of mars-1" in invoke("cost", "r-0001", "--price-region", "mars-1").stdout


def test_an_idle_stack(invoke: Any) -> None:
    assert "a month at most" in invoke("cost", "--idle").stdout
    assert last_line(invoke("cost", "--idle", "--json"))["total_usd"] < 2


@pytest.mark.parametrize(
    ("arguments", "exit_code"), [([], 2), (["r-1", "--idle"], 2), (["r-9999"], 3), (["latest"], 3), (["../x"], 3)]
)
def test_what_cannot_be_billed_is_refused(invoke: Any, arguments: list[str], exit_code: int) -> None:
    assert invoke("cost", *arguments).exit_code == exit_code


# --- train --dry-run -----------------------------------------------------------------------------------------


def test_a_dry_run_measures_by_an_earlier_run_and_writes_nothing(
    invoke: Any, engine: Any, stored: RunsInStore, home: Path
) -> None:
    local = LocalSettings.from_environment({})
    settings = complete_settings({"workers": 2}, recipes.describe("digits-mlp", {}), local.limits())
    names = ("recipe", "recipe_name", "recipe_digest", "dataset", "recipe_settings", "batch_size")
    stored.add("r-0001", known, **{name: getattr(settings, name) for name in names})
    stored.add_history("r-0001")
    before = sorted(path.name for path in home.rglob("*"))
    result = invoke("train", "digits-mlp", "--workers", "2", "--dry-run", "--json")
    found = last_line(result)
    assert result.exit_code == 0
    assert found["step_source"].startswith("measured in run r-0001")
    assert (found["parameters"], found["workers"], found["within_budget"]) == (4_810, 2, True)
    assert found["total_usd"] == pytest.approx(sum(line["usd"] for line in found["lines"]))
    assert found["budget_usd"] > transfer_cost_usd_of(found)
    assert not engine.made, "no engine was started"
    assert sorted(path.name for path in home.rglob("*")) == before
    assert [run.run_id for run in stored.store.list_runs()] == ["r-0001"]


def transfer_cost_usd_of(found: dict[str, Any]) -> float:
    """The estimate's EFS lines are not all of its budget."""
    from contracts.records import Transfer

    moved = Transfer(read_bytes=found["efs_read_bytes"], written_bytes=found["efs_written_bytes"])
    return transfer_cost_usd(moved)


def test_a_dry_run_says_when_this_machine_is_faster(invoke: Any, engine: Any, stored: RunsInStore) -> None:
    stored.add("r-0001", known)
    stored.add_history("r-0001")
    result = invoke("train", "digits-mlp", "--workers", "2", "--dry-run")
    assert "This machine would be faster" in result.stderr
    assert "nothing was started" in result.stdout


@pytest.mark.parametrize(
    ("options", "number"),
    [(["--workers", "0"], "E102"), (["--max-cost-usd", "0.0001"], "E102"), (["--workers", "100000"], "E103")],
)
def test_a_dry_run_checks_as_a_start_does(invoke: Any, engine: Any, options: list[str], number: str) -> None:
    start = invoke("train", "digits-mlp", *options)
    dry = invoke("train", "digits-mlp", *options, "--dry-run", "--json")
    assert dry.exit_code == start.exit_code == 3
    assert json.loads(dry.stdout)["error"]["number"] == number


def test_without_an_earlier_run_the_model_is_built(tmp_path: Path) -> None:
    local = LocalSettings.from_environment({})
    settings = complete_settings({"workers": 2}, recipes.describe("digits-mlp", {}), local.limits())
    sizes = built_sizes("digits-mlp", settings, DataPlaces("", str(tmp_path)))
    # 64 × 64 + 64 and 64 × 10 + 10; momentum holds as much again.
    assert sizes.parameters == 4_810
    assert sizes.state_bytes >= 4 * 4_810
    assert sizes.examples + sizes.val_examples + sizes.test_examples == 1_797
    assert not list(tmp_path.iterdir())
