"""From a form to a command line, and from a command's answer to what the page shows."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from dashboard.actions.new_run import DEFAULTS, OWN, NewRun, from_form, train_arguments
from dashboard.views import new_run as view
from runs.estimate import Estimate
from runs.usage import LineItem

FORM: dict[str, Any] = {"recipe": "digits-mlp", "length_kind": "epochs", "length": None, "settings": {}, **DEFAULTS}


def line(**changes: Any) -> str:
    return " ".join(train_arguments(from_form(FORM | changes)))


def test_a_form_as_it_opens_asks_for_nothing_but_the_recipe() -> None:
    assert from_form(FORM) == NewRun(recipe="digits-mlp")
    assert line() == "train digits-mlp"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"workers": 8}, "--workers 8"),
        ({"length": 3}, "--epochs 3"),
        ({"length": 30, "length_kind": "rounds"}, "--rounds 30"),
        ({"length_kind": "rounds"}, ""),
        ({"sync": "gradients", "outer": "adam", "outer_learning_rate": 0.001}, "--sync gradients --outer adam "
         "--outer-learning-rate 0.001"),
        ({"outer_momentum": 0.0}, "--outer-momentum 0"),
        ({"update_dtype": "bfloat16"}, "--update-dtype bfloat16"),
        ({"update_dtype": "float32"}, ""),
        ({"max_cost_usd": 0.25, "target_accuracy": 0.95, "patience": 3}, "--max-cost-usd 0.25 --target-accuracy 0.95 "
         "--patience 3"),
        ({"seed": 7, "batch_size": 16, "steps_per_round": 50}, "--batch-size 16 --steps-per-round 50 --seed 7"),
        ({"settings": {"learning_rate": 0.05, "units": 32, "dropout": None}}, "--set learning_rate=0.05 "
         "--set units=32"),
        ({"data": "digits"}, ""),
    ],
)  # fmt: skip
def test_what_differs_from_the_defaults_is_said(changes: dict[str, Any], said: str) -> None:
    assert line(**changes) == f"train digits-mlp {said}".strip()


def test_a_file_of_ones_own() -> None:
    own = {"recipe": OWN, "settings": {"units": 3}, "settings_text": " rate = 0.1 \n\nwrong\n"}
    assert line(**own, path="my recipes/a.py", data="digits") == "train my recipes/a.py --set rate=0.1 --set wrong="
    assert line(recipe=OWN, path="m.keras", data="digits") == "train m.keras --data digits"
    assert from_form(FORM | {"recipe": OWN, "path": None}).recipe == ""


def test_every_option_of_a_run_is_one_of_the_command() -> None:
    from cli.train_command import train

    known = {option for parameter in train.params for option in parameter.opts}
    asked = NewRun(
        recipe="x", data="d", workers=1, epochs=1, rounds=1, batch_size=1, steps_per_round=1, validate_every_rounds=1,
        sync="local", outer="sgd", outer_learning_rate=1.0, outer_momentum=0.5, seed=1, max_cost_usd=1.0,
        target_accuracy=0.5, patience=1, deadline_s=1.0, update_dtype="bfloat16", overrides=(("a", "b"),),
    )  # fmt: skip
    assert {argument for argument in train_arguments(asked) if argument.startswith("--")} <= known


def test_recipes() -> None:
    entry = {"name": "a", "title": "A", "dataset": "d", "epochs": 2, "batch_size": 3, "settings": {"units": 4}}
    assert view.recipes_of({"recipes": [entry]}) == [view.Recipe("a", "A", "d", 2, 3, {"units": 4})]
    assert view.recipes_of(None) == []


def test_checks_begin_with_what_has_to_be_mended() -> None:
    checks = [{"name": state, "state": state, "found": "x", "fix": ""} for state in ("ok", "note", "bad")]
    assert [check.state for check in view.checks_of({"checks": checks})] == ["bad", "note", "ok"]
    assert view.checks_of(None) == []


def made_answer(**changes: Any) -> dict[str, Any]:
    """An estimate as JSON, as the command prints it."""
    lines = (
        LineItem("Lambda", "Train", 109.57, "GB-s", 1.66667e-05, 0.0018, estimated=True, in_budget=True),
        LineItem("EFS", "stored", 3e-8, "GB-month", 0.3, 1e-8, estimated=True, in_budget=False),
    )
    estimate = Estimate(
        recipe="digits-mlp", workers=4, batch_size=8, rounds=60, steps_per_worker=809, slices=1, parameters=4810,
        invocations=496, gb_s=528.1, efs_read_bytes=31_432_704, efs_written_bytes=25_374_720, duration_s=119.9,
        laptop_s=8.3, step_s=0.0003, step_source="an assumption", sizes_source="the model", region="us-east-1",
        price_date="2026-10-01", prices="prices of us-east-1, 2026-10-01", architecture="x86_64", lines=lines,
        total_usd=0.0149, budget_usd=0.0048, max_cost_usd=10.0, held_back_usd=0.18, within_budget=True, machines=(),
        notes=("This machine would be faster.",), assumptions=("No attempt fails.",),
    )  # fmt: skip
    fields = {name: getattr(estimate, name) for name in Estimate.__struct_fields__}
    fields["lines"] = [one._asdict() for one in lines]
    answer: dict[str, Any] = json.loads(msgspec.json.encode(fields))
    return {"run_id": None, **answer, "error": None, **changes}


def test_an_estimate_in_words() -> None:
    found = view.estimate_of(made_answer())
    assert (found.on_lambda, found.here, found.cost) == ("about 2 min 00 s", "about 8.3 s", "about $0.0149")
    assert found.budget == "$0.0048 count towards the budget of $10.00, which covers it."
    assert found.lines == (view.Line("Lambda", "Train", "109.6 GB-s", 0.0018), view.Line("", "lines of less", "", 1e-8))
    assert ("workers", "4 with batch 8") in found.figures
    assert found.notes and found.assumptions


def test_a_budget_that_is_too_small_is_said() -> None:
    found = view.estimate_of(made_answer(within_budget=False, max_cost_usd=0.001))
    assert not found.within_budget
    assert "does not cover it" in found.budget
