"""What a run takes where its user says nothing, and what its user is told."""

from __future__ import annotations

import dataclasses
import re
from importlib import metadata
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.errors import InvalidSetting, TooManyWorkers
from contracts.settings import RunSettings
from engines.local import LocalSettings
from libraries.lock import LOCK
from runs.recipe_summary import RecipeSummary
from runs.start import EngineLimits, check_budget, complete_settings, lambda_limits, warnings

LIMITS = EngineLimits(concurrency=8, cores=8, time_limit_s=60.0, memory_mb=3_008)
RECIPE = RecipeSummary(
    name="r",
    title="",
    location="r",
    digest="0",
    dataset="d",
    batch_size=64,
    epochs=5,
    settings={"learning_rate": 0.05, "momentum": 0.8},
    train_examples=54_000,
)


def settings(recipe: RecipeSummary = RECIPE, **request: Any) -> RunSettings:
    return complete_settings(request, recipe, LIMITS)


@pytest.mark.parametrize(
    ("workers", "batch", "rate"), [(1, 64, 0.05), (2, 32, 0.025), (4, 16, 0.0125), (32, 8, 0.00625)]
)
def test_batch_and_rate_shrink_together(workers: int, batch: int, rate: float) -> None:
    run = settings(workers=workers)
    assert (run.batch_size, run.recipe_settings["learning_rate"]) == (batch, rate)


def test_another_framework_has_features_of_its_own() -> None:
    with_backbone = replace(RECIPE, backbone_digest="0a" * 16)
    frameworks = ["", "tensorflow 2.21.0, keras 3.15.1", "tensorflow 2.22.0, keras 3.15.1"]
    found = [
        complete_settings({}, with_backbone, dataclasses.replace(LIMITS, framework=framework)).backbone_digest
        for framework in frameworks
    ]
    assert len(set(found)) == 3 and all(len(digest) == 32 for digest in found)
    assert complete_settings({}, RECIPE, LIMITS).backbone_digest == ""


def test_the_framework_is_that_of_the_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = re.findall(r"^(tensorflow|keras)(?:-cpu)?==([\w.]+)", LOCK.read_text(), re.MULTILINE)
    wanted = ", ".join(f"{name} {version}" for name, version in sorted(set(pinned), reverse=True))
    stack = lambda_limits(workers=2, threads=1, time_limit_s=60.0, memory_mb=3_008)
    assert stack.framework == wanted
    versions = {"tensorflow": "9.1", "keras": "9.2"}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    laptop = LocalSettings.from_environment({})
    assert laptop.limits().framework == "tensorflow 9.1, keras 9.2"
    versions.clear()
    assert laptop.limits().framework == wanted, "nothing is installed: workers have an archive"


def test_a_rate_set_by_hand_is_left_alone() -> None:
    assert settings(replace(RECIPE, overridden=("learning_rate",)), workers=4).recipe_settings["learning_rate"] == 0.05


@pytest.mark.parametrize(
    ("workers", "kind", "rate"), [(1, "sgd", 1.0), (2, "nesterov", 0.2), (4, "nesterov", 0.4), (16, "nesterov", 0.7)]
)
def test_the_outer_optimizer_makes_up_for_it(workers: int, kind: str, rate: float) -> None:
    outer = settings(workers=workers).outer
    assert (outer.kind, outer.learning_rate) == (kind, rate)


@pytest.mark.parametrize(("kind", "rate"), [("sgd", 1.0), ("momentum", 0.4), ("nesterov", 0.4), ("adam", 0.001)])
def test_each_outer_optimizer_has_a_rate_that_suits_it(kind: str, rate: float) -> None:
    assert settings(workers=4, outer={"kind": kind}).outer.learning_rate == rate


def test_what_is_asked_of_the_outer_optimizer_is_kept() -> None:
    outer = settings(workers=4, outer={"learning_rate": 0.3, "momentum": 0.5}).outer
    assert (outer.kind, outer.learning_rate, outer.momentum) == ("nesterov", 0.3, 0.5)


def test_with_gradients_the_outer_optimizer_is_the_recipes_own() -> None:
    run = settings(workers=4, sync="gradients")
    assert (run.outer.kind, run.outer.learning_rate, run.outer.momentum) == ("momentum", 0.05, 0.8)
    assert run.recipe_settings["learning_rate"] == 0.05


@pytest.mark.parametrize("request_", [{"workers": 0}, {"workers": "4"}, {"batch_size": 0}, {"colour": "red"}])
def test_a_bad_request_is_refused(request_: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match="E102"):
        settings(**request_)


def test_more_workers_than_examples_are_refused() -> None:
    with pytest.raises(TooManyWorkers, match="E103"):
        settings(replace(RECIPE, train_examples=3), workers=4)


def test_environments_share_the_cores_in_threads() -> None:
    assert (settings(workers=2).threads, settings(workers=8).threads, settings(workers=20).concurrency) == (4, 1, 8)


def test_a_stack_allows_no_more_workers_than_its_ceiling() -> None:
    limits = lambda_limits(workers=16, threads=2, time_limit_s=900.0, memory_mb=3_008)
    with pytest.raises(TooManyWorkers, match="at most 16, the stack's ceiling"):
        complete_settings({"workers": 17}, RECIPE, limits)
    run = complete_settings({"workers": 16}, RECIPE, limits)
    assert (run.concurrency, run.threads) == (16, 2)


def test_what_reserved_concurrency_would_throttle_is_not_sent() -> None:
    limits = lambda_limits(workers=16, threads=2, time_limit_s=900.0, memory_mb=3_008, reserved_concurrency=8)
    run = complete_settings({"workers": 16}, RECIPE, limits)
    assert (run.workers, run.concurrency, run.in_flight_per_place, run.threads) == (16, 8, 1, 2)


def test_a_budget_below_one_attempt_is_refused_before_anything_is_written() -> None:
    with pytest.raises(InvalidSetting, match=r"E102.*--max-cost-usd: \$0.0001, expected at least"):
        check_budget(settings(max_cost_usd=0.0001))


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        ({"workers": 16}, "up to 8 workers"),
        ({"patience": 3}, "validations"),
        ({"workers": 2, "steps_per_round": 9_000}, "plain averaging"),
    ],
)
def test_the_user_is_warned(request_: dict[str, Any], word: str) -> None:
    assert any(word in warning for warning in warnings(settings(**request_), RECIPE))


def test_a_plain_request_warns_of_nothing() -> None:
    assert warnings(settings(), RECIPE) == []
