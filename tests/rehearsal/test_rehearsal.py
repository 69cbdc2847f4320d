"""Whole runs in the stack that `template.yaml` describes, on loopback: whatever goes wrong, the same parameters.

The stack's functions are real processes with AWS's runtime client; DynamoDB's stream, the queues and Lambda's API are
the stand-in's (`cloud.py`). The sweep is off unless a test says otherwise: the stream alone drives the runs.
"""

from __future__ import annotations

import json
import random
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.records import Run
from rehearsal.batches import Record
from rehearsal.cloud import Cloud, FunctionFailed
from rehearsal.mappings import StreamMapping
from rehearsal.stage import OPTIONS, RECIPE, Stage, expected_digest
from rehearsal.tour import SWEEP_S, bare_events, call_api, use_model
from rehearsal.whole_runs import WholeRuns, as_arguments


@pytest.fixture(scope="module")
def rehearsal(stage: Stage) -> Iterator[WholeRuns]:
    runs = stage.runs()
    runs.push("digits")
    yield runs
    stage.close()


@pytest.fixture
def runs(rehearsal: WholeRuns) -> Iterator[WholeRuns]:
    """With everything as the template says, the sweep off, and the queues empty."""
    cloud = rehearsal.cloud
    yield rehearsal
    cloud.sweep_every(None)
    cloud.functions.forgive()
    for mapping in cloud.mappings.values():
        mapping.switch(on=True)
        if isinstance(mapping, StreamMapping):
            mapping.tamper = list
    cloud.messages(cloud.outputs["DeadLettersQueueUrl"])


def dead_letters(cloud: Cloud) -> list[dict[str, Any]]:
    return cloud.messages(cloud.outputs["DeadLettersQueueUrl"])


def same_as_local(run: Run) -> bool:
    assert run.status == "FINISHED", run.error
    assert run.results["parameters_sha256"] == expected_digest()
    return True


def test_the_stream_alone_brings_a_run_to_the_parameters_of_a_local_one(runs: WholeRuns) -> None:
    cloud = runs.cloud
    before = dict(cloud.functions.invocations)
    run_id = runs.start(**OPTIONS)
    assert same_as_local(runs.end(run_id))
    used = {name: count - before.get(name, 0) for name, count in cloud.functions.invocations.items()}
    assert used["Train"] >= 1 + 4 * 2 + 1 and used["Combine"] >= 4 and used["Prepare"] == 1
    assert used.get("Sweep", 0) == 0
    cloud.wait_for(lambda: any(call["action"] == "sns:Publish" for call in cloud.calls()))
    rounds = runs.store.load_rounds(run_id)
    assert [one.round_index for one in rounds] == [1, 2, 3, 4]
    steps, _ = runs.store.read_steps(run_id)
    assert {batch.worker_index for batch in steps} == {0, 1}
    assert dead_letters(cloud) == []


def test_the_command_line_starts_and_follows_a_run_in_the_stack(runs: WholeRuns) -> None:
    done = runs.command("train", RECIPE, *as_arguments(OPTIONS), "--engine", "aws", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert (answer["status"], answer["parameters_sha256"]) == ("FINISHED", expected_digest())
    shown = runs.command("runs", "show", "latest", "--json")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout.splitlines()[-1])["run_id"] == answer["run_id"]


def test_with_the_stream_switched_off_the_sweep_brings_a_run_to_its_end(runs: WholeRuns) -> None:
    cloud = runs.cloud
    cloud.switch(on=False)
    conducted = cloud.functions.invocations["Conduct"]
    cloud.sweep_every(SWEEP_S)
    assert same_as_local(runs.end(runs.start(**OPTIONS)))
    assert cloud.functions.invocations["Conduct"] == conducted


def test_lost_doubled_and_disordered_stream_records_change_nothing(runs: WholeRuns) -> None:
    chance = random.Random(1)
    lost: list[str] = []

    def tamper(records: list[Record]) -> list[Record]:
        kept = [record for record in records if chance.random() > 0.25]
        lost.extend(record["dynamodb"]["SequenceNumber"] for record in records if record not in kept)
        kept += [record for record in kept if chance.random() < 0.5]
        chance.shuffle(kept)
        return kept

    for mapping in runs.cloud.mappings.values():
        if isinstance(mapping, StreamMapping):
            mapping.tamper = tamper
    runs.cloud.sweep_every(SWEEP_S)
    assert same_as_local(runs.end(runs.start(**OPTIONS)))
    assert len(lost) > 3
    assert dead_letters(runs.cloud) == []


def test_a_start_and_every_invocation_delivered_twice_change_nothing(
    runs: WholeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions = runs.cloud.functions
    send = functions.send

    def twice(name: str, body: bytes) -> str:
        send(name, body)
        return send(name, body)

    monkeypatch.setattr(functions, "send", twice)
    request = {"start": True, "run_id": "r-twice00000", **OPTIONS}
    first, second = (runs.cloud.invoke("StartRun", request) for _ in range(2))
    assert first["run_id"] == second["run_id"] == "r-twice00000"
    assert (first["created"], second["created"]) == (True, False)
    assert same_as_local(runs.end("r-twice00000"))


def test_a_killed_worker_is_told_of_by_the_queue_and_changes_nothing(runs: WholeRuns) -> None:
    cloud = runs.cloud
    name = cloud.outputs["TrainFunction"]
    run_id = runs.start(**OPTIONS)
    killed: list[int] = []
    told = cloud.mappings["ConductFailures"].records

    def claimed(round_index: int) -> set[int]:
        tasks = runs.store.load_tasks(run_id, round_index).values()
        return {task.key.index for task in tasks if task.status == "CLAIMED" and task.key.kind == "train"}

    def lost() -> bool:
        return any(record.outcome == "lost" for task in runs.tasks(run_id) for record in task.history)

    def one_was_lost() -> bool:
        """Kill a worker that has claimed its task: without the queue its run would wait 15 minutes for it.

        It is held first, so that it does not report between the look and the kill. A report that was on its way
        already may still arrive: then the next round has its turn.
        """
        run = runs.run(run_id)
        if run is None:
            return False
        if run.ended or lost():
            return True
        if run.round_index in killed:
            return False
        for pid, event in cloud.environments.working_pids(name).items():
            if event.get("run_id") == run_id and event.get("epochsdone") == run.round_index - 1:
                cloud.signal("Train", pid, signal.SIGSTOP)
                if event["workerno"] in claimed(run.round_index):
                    cloud.signal("Train", pid, signal.SIGKILL)
                    killed.append(run.round_index)
                    return False
                cloud.signal("Train", pid, signal.SIGCONT)
        return False

    cloud.wait_for(one_was_lost, 90.0)
    assert killed and lost()
    assert same_as_local(runs.end(run_id, 90.0))
    assert cloud.mappings["ConductFailures"].records > told
    assert dead_letters(cloud) == []


def test_poison_in_the_stream_goes_to_the_dead_letters_and_runs_go_on(runs: WholeRuns) -> None:
    cloud = runs.cloud
    run_id = runs.start(**OPTIONS)
    for number, data in enumerate(("no JSON", "{}", '{"run_id": 7}')):
        poison = {"pk": f"run#r-poison{number}", "sk": "run", "kind": "run", "status": "RUNNING", "data": data}
        item = {**{name: {"S": value} for name, value in poison.items()}, "version": {"N": "1"}}
        cloud.client("dynamodb").put_item(TableName=cloud.outputs["TableName"], Item=item)
    assert same_as_local(runs.end(run_id, 90.0))
    letters: list[dict[str, Any]] = []
    cloud.wait_for(lambda: letters.extend(dead_letters(cloud)) or len(letters) >= 6, service="sqs")
    functions = [letter["requestContext"]["functionArn"].rpartition(":")[2] for letter in letters]
    assert sorted(functions) == sorted([cloud.outputs["ConductFunction"], cloud.outputs["MonitorFunction"]] * 3)
    assert all(letter["DDBStreamBatchInfo"]["batchSize"] == 1 for letter in letters)


def test_throttled_functions_are_invoked_again(runs: WholeRuns) -> None:
    cloud = runs.cloud
    cloud.sweep_every(SWEEP_S)
    names = [cloud.outputs[f"{one}Function"] for one in ("Train", "Combine", "Prepare")]
    for name in names:
        cloud.functions.refuse(name, 4)
    cloud.functions.reserve(names[0], 1)  # one worker after the other, by Lambda's own retries
    assert same_as_local(runs.end(runs.start(**OPTIONS, offer_s=0.5), 90.0))
    assert [cloud.functions.refusals_left(name) for name in names] == [0, 0, 0]


def test_a_stopped_run_goes_on_where_it_was(runs: WholeRuns) -> None:
    run_id = runs.start(**OPTIONS)
    runs.reaches(run_id, 2)
    call_api(runs.cloud, "POST", f"/runs/{run_id}/stop")
    run = runs.end(run_id)
    assert run.status == "CANCELLED" and run.round_index >= 2
    resumed = runs.command("runs", "resume", run_id, "--json", "--quiet")
    assert resumed.returncode == 0, resumed.stderr
    assert same_as_local(runs.end(run_id))


def test_the_bare_events_of_the_first_publication(runs: WholeRuns) -> None:
    cloud = runs.cloud
    run_id = str(cloud.invoke("StartRun", {"start": True, "workers": 5})["run_id"])
    run = runs.reaches(run_id, 2)
    assert (run.settings.workers, run.settings.recipe) == (5, RECIPE)
    bare_events(cloud, 5)
    runs.reaches(run_id, 4)
    assert runs.run(run_id).status == "RUNNING"
    assert call_api(cloud, "POST", "/runs/latest/stop")[1]["run_id"] == run_id
    assert runs.end(run_id).status == "CANCELLED"
    assert dead_letters(cloud) == []


def test_the_http_api(runs: WholeRuns) -> None:
    cloud = runs.cloud
    status, started = call_api(cloud, "POST", "/runs", dict(OPTIONS))
    assert status == 201
    run_id = started["run_id"]
    assert call_api(cloud, "GET", "/runs?limit=1")[1]["runs"][0]["run_id"] == run_id
    assert call_api(cloud, "POST", f"/runs/{run_id}/stop")[1]["status"] == "CANCELLED"
    assert call_api(cloud, "GET", f"/runs/{run_id}")[1]["status"] == "CANCELLED"
    assert call_api(cloud, "GET", "/runs/r-unknown000")[0] == 404
    assert call_api(cloud, "POST", "/runs", {"workers": -1})[0] == 400
    assert call_api(cloud, "GET", "/runs", signed=False)[0] == 403


def test_a_finished_runs_model_is_used_fetched_and_removed(runs: WholeRuns, tmp_path: Path) -> None:
    run_id = runs.start(**OPTIONS)
    target = tmp_path / "model.safetensors"
    assert same_as_local(runs.end(run_id))
    use_model(runs, run_id, target)
    removed = runs.command("runs", "rm", run_id, "--yes")
    assert removed.returncode == 0, removed.stderr
    assert runs.run(run_id) is None


@pytest.mark.parametrize("function", ["Train", "Combine", "Prepare", "Predict", "Conduct", "Monitor"])
def test_an_event_of_another_shape_is_a_numbered_error(runs: WholeRuns, function: str) -> None:
    with pytest.raises(FunctionFailed) as caught:
        runs.cloud.invoke(function, {"workerno": "three", "task": 7, "Records": "none"})
    assert re.match(r"E\d{3} \w+: ", json.loads(str(caught.value))["errorMessage"])


def test_a_start_of_another_shape_is_answered_and_writes_nothing(runs: WholeRuns) -> None:
    before = [run.run_id for run in runs.store.list_runs()]
    for event in ({}, {"start": "yes"}, {"start": True, "workers": "all"}, {"start": True, "run_id": "../etc"}):
        assert re.fullmatch(r"E\d{3}", runs.cloud.invoke("StartRun", event)["error"]["number"])
    assert [run.run_id for run in runs.store.list_runs()] == before


def test_only_the_templates_variables_reach_the_functions(runs: WholeRuns) -> None:
    declared = runs.cloud.model.functions["Train"].variables
    assert {name for name in declared if name.startswith("LAMBDAFIT_")} >= {"LAMBDAFIT_TABLE", "LAMBDAFIT_SHARED"}
    probes = {one: runs.cloud.invoke(one, {"probe": True}) for one in ("Train", "Combine", "Prepare", "Predict")}
    assert {one: answer["shared_writable"] for one, answer in probes.items()} == dict.fromkeys(probes, True)
