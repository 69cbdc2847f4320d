"""The folder `events/`: a sample for every function, each one valid; `sam local` uses the same files."""

from __future__ import annotations

import json
from typing import Any

import pytest
from handler_helpers import EVENTS, VARIABLES, sample

from contracts.messages import FUNCTIONS, is_probe, is_start, parse_task
from contracts.records import RoundRecord, Run, Task
from handlers import api
from handlers.failed_invocations import read_failure
from handlers.pictures import read_pictures
from handlers.stream_records import read_change

FUNCTIONS_OF_THE_TEMPLATE = {
    "start": "StartRun",
    "api-start": "StartRun",
    "conduct": "Conduct",
    "conduct-failed": "Conduct",
    "sweep": "Sweep",
    "monitor": "Monitor",
    "train": "Train",
    "train-full": "Train",
    "extract": "Train",
    "initialise": "Train",
    "evaluate": "Train",
    "combine": "Combine",
    "combine-full": "Combine",
    "clear": "Combine",
    "prepare": "Prepare",
    "install-libraries": "InstallLibraries",
    "predict": "Predict",
    "warm-up": "Train",
    "probe": "any function in the VPC",
}
TASKS = ("train", "train-full", "extract", "initialise", "evaluate", "combine", "combine-full", "clear", "prepare")
NAMES = {name: VARIABLES[f"LAMBDAFIT_{name.upper()}_FUNCTION"] for name in ("train", "combine", "prepare")}


def changes(name: str) -> list[Any]:
    return [read_change(record, "lambdafit") for record in sample(name)["Records"]]


def test_every_sample_is_that_of_a_function_and_every_function_has_one() -> None:
    assert {path.stem for path in EVENTS.iterdir()} == set(FUNCTIONS_OF_THE_TEMPLATE)


@pytest.mark.parametrize("name", TASKS)
def test_tasks_go_to_their_functions(name: str) -> None:
    kind = parse_task(sample(name)).key.kind
    assert FUNCTIONS[kind] == FUNCTIONS_OF_THE_TEMPLATE[name].lower()


def test_the_three_bare_events_are_as_first_published() -> None:
    assert sample("start") == {"start": True, "workers": 5} and is_start(sample("start"))
    assert sample("train") == {"workerno": 3, "workers": 5, "epochsdone": 6}
    assert sample("combine") == {"combine": True, "workers": 5, "epochsdone": 6}


def test_the_stream_brings_runs_and_tasks_to_conduct() -> None:
    assert [type(change.record) for change in changes("conduct")] == [Run, Task]


def test_the_stream_brings_rounds_and_runs_to_monitor() -> None:
    told = changes("monitor")
    assert [type(change.record) for change in told] == [RoundRecord, Run]
    assert told[1].record.ended


def test_failed_invocations_tell_which_and_why() -> None:
    timed_out, too_old = (read_failure(record, NAMES) for record in sample("conduct-failed")["Records"])
    assert timed_out is not None and timed_out.error is not None and timed_out.error.number == "E402"
    assert too_old is not None and too_old.error is None  # throttled: its offer stands until it expires


def test_the_api_is_told_from_a_start() -> None:
    assert api.is_request(sample("api-start")) and not api.is_request(sample("start"))
    assert json.loads(sample("api-start")["body"])["workers"] == 2


def test_the_others() -> None:
    assert is_probe(sample("probe")) and sample("sweep") == {"sweep": True}
    assert read_pictures(sample("predict"))[0].content.startswith(b"\x89PNG")
    assert sample("install-libraries")["task"] == "install-libraries"
