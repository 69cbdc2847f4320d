"""The messages keep the published field names, the three bare events are valid, and bad ones are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InvalidMessage, InvalidRunId
from contracts.messages import FUNCTIONS, NEWEST_RUN, TaskMessage, is_start, parse_task
from contracts.records import TaskKey
from contracts.settings import make_settings
from runs.recipe_summary import RecipeSummary
from runs.start import EngineLimits, complete_settings

EVENTS = Path(__file__).parents[2] / "events"


def sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


def test_the_bare_train_event_means_the_newest_runs_next_round() -> None:
    assert sample("train") == {"workerno": 3, "workers": 5, "epochsdone": 6}
    message = parse_task(sample("train"))
    assert message == TaskMessage(run_id=NEWEST_RUN, key=TaskKey(round_index=7, kind="train", index=3), attempt=0)


def test_the_bare_combine_event_means_the_first_slice() -> None:
    assert sample("combine") == {"combine": True, "workers": 5, "epochsdone": 6}
    assert parse_task(sample("combine")).key == TaskKey(round_index=7, kind="combine", index=0, generation=1)


def test_the_bare_start_event_starts_the_default_recipe() -> None:
    event = sample("start")
    assert event == {"start": True, "workers": 5} and is_start(event)
    recipe = RecipeSummary(
        name="digits-mlp",
        title="",
        location="digits-mlp",
        digest="0",
        dataset="d",
        batch_size=64,
        epochs=4,
        settings={},
    )
    settings = complete_settings(event, recipe, EngineLimits(concurrency=2, cores=2, time_limit_s=9.0, memory_mb=500))
    assert (settings.workers, settings.epochs, settings.batch_size, settings.concurrency) == (5, 4, 12, 2)


keys = st.builds(
    TaskKey,
    round_index=st.integers(1, 10**6),
    kind=st.sampled_from(sorted(FUNCTIONS)),
    index=st.integers(0, 1000),
    generation=st.just(0),
) | st.builds(
    TaskKey,
    round_index=st.integers(1, 10**6),
    kind=st.just("combine"),
    index=st.integers(0, 63),
    generation=st.integers(1, 9),
)


@given(keys.filter(lambda key: key.kind != "combine" or key.generation > 0), st.integers(1, 99))
def test_a_message_is_read_back_from_its_event(key: TaskKey, attempt: int) -> None:
    message = TaskMessage(run_id="r-0123456789", key=key, attempt=attempt)
    event = json.loads(json.dumps(message.to_event()))
    assert parse_task(event) == message


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"task": "dance"},
        {"task": 7},
        {"workerno": -1, "epochsdone": 0},
        {"workerno": "3", "epochsdone": 0},
        {"workerno": True, "epochsdone": 0},
        {"workerno": 5, "workers": 5, "epochsdone": 6},
        {"combine": True, "epochsdone": 1.5},
        {"workerno": 0, "epochsdone": 0, "attempt": "x"},
        {"run_id": 7, "workerno": 0},
    ],
)
def test_an_event_of_another_shape_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage, match="E109"):
        parse_task(event)


@pytest.mark.parametrize("run_id", ["../x", "r-../../etc", "", "r-ABC", "r-" + "a" * 99, "latest\n"])
def test_a_run_id_never_leaves_the_folder(run_id: str) -> None:
    with pytest.raises(InvalidRunId, match="E108"):
        parse_task({"run_id": run_id, "workerno": 0, "epochsdone": 0})


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"workers": 0}, "--workers"),
        ({"workers": 2000}, "--workers"),
        ({"batch_size": -1}, "--batch-size"),
        ({"epochs": 0}, "--epochs"),
        ({"rounds": 3}, "--epochs, --rounds"),
        ({"epochs": None}, "--epochs, --rounds"),
        ({"sync": "sometimes"}, "--sync"),
        ({"outer": {"learning_rate": float("nan")}}, "--outer-learning-rate"),
        ({"outer": {"momentum": 1.0}}, "--outer-momentum"),
        ({"max_cost_usd": float("inf")}, "--max-cost-usd"),
        ({"max_cost_usd": -1}, "--max-cost-usd"),
        ({"seed": -1}, "--seed"),
        ({"target_accuracy": 1.5}, "--target-accuracy"),
    ],
)
def test_a_bad_setting_is_refused_by_name(change: dict[str, Any], option: str) -> None:
    values = {"recipe": "a", "recipe_digest": "b", "dataset": "c", "workers": 2, "batch_size": 4, "epochs": 1}
    with pytest.raises(Exception, match=f"E102 InvalidSetting: {option}: "):
        make_settings(values | change)
