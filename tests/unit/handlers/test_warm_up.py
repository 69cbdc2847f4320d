"""While a run's data are prepared, its environments load TensorFlow: a favour that can neither fail nor delay it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from handler_helpers import NOW, RUN_ID, Invocations, make_run, queue_record, refused, sample
from msgspec.structs import replace

from contracts.errors import InvalidRunId
from contracts.messages import FUNCTIONS, TaskMessage, is_warm_up, warm_up_event
from contracts.records import Run, TaskKey
from contracts.stack_errors import LibrariesMissing
from handlers import wiring
from handlers.failed_invocations import read_failure
from handlers.lambda_invoker import LambdaInvoker
from handlers.warm_up import warm_up
from runs.reconcile import reconcile
from runs.services import Services
from runs.transfer import METADATA_BYTES, NOTHING, metered_bytes

Spans = Callable[[str], AbstractContextManager[None]]


class Ready:
    """A trainer that remembers which runs it got ready for, and is its own WarmTrainer."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.runs: list[str] = []
        self.problem = problem

    def get(self, span: Spans) -> Any:
        with span("libraries"):
            if self.problem is not None:
                raise self.problem
        return self

    def warm_up(self, run: Run) -> None:
        self.runs.append(run.run_id)


def first_task(kind: str, run_id: str) -> TaskMessage:
    return TaskMessage(run_id=run_id, key=TaskKey(round_index=1, kind=kind), attempt=1)  # type: ignore[arg-type]


def invocations(services: Services) -> Invocations:
    assert isinstance(services.invoker, Invocations)
    return services.invoker


def test_a_run_with_a_backbone_whose_workers_all_begin_at_once_is_not_warmed_up_before(services: Services) -> None:
    run = make_run()
    services.store.create_run(replace(run, settings=replace(run.settings, backbone_digest="0a" * 16)))
    reconcile(services, RUN_ID)
    assert [function for function, _ in invocations(services).sent] == ["prepare"]
    assert invocations(services).warmed_up == []


def test_all_environments_but_one_are_warmed_up_once_when_a_run_begins(services: Services) -> None:
    run = make_run()
    services.store.create_run(run)
    for _ in range(3):
        reconcile(services, RUN_ID)
    assert run.settings.concurrency > 1
    assert invocations(services).warmed_up == [(RUN_ID, run.settings.concurrency - 1)]
    assert [FUNCTIONS["prepare"]] == [function for function, _ in invocations(services).sent]


def test_what_lambda_refuses_is_not_asked_for_again_and_fails_nobody() -> None:
    class Throttling:
        requests = 0

        def invoke(self, **_request: Any) -> Any:
            self.requests += 1
            raise refused("TooManyRequestsException", 429)

    client = Throttling()
    LambdaInvoker({"train": "lambdafit-train"}, client).warm_up(RUN_ID, 5)
    assert client.requests == 5


def test_a_warm_up_that_was_never_run_is_nobodys_failure() -> None:
    throttled = sample("conduct-failed")["Records"][1]
    body = json.loads(throttled["body"]) | {"requestPayload": warm_up_event(RUN_ID)}
    assert read_failure(queue_record(body, "1"), {"train": "lambdafit-train"}) is None


def test_the_environment_loads_what_the_run_needs_and_the_next_task_tells_where_the_time_went(
    services: Services,
) -> None:
    services.store.create_run(make_run())
    trainer, init = Ready(), wiring.Init()
    assert is_warm_up(sample("warm-up"))
    answer = warm_up(warm_up_event(RUN_ID), trainer, init)  # type: ignore[arg-type]
    assert (answer["outcome"], trainer.runs) == ("done", [RUN_ID])
    assert [span.name for span in init.take()] == ["init", "libraries", "build"]
    assert init.take() == ()


def test_what_it_reads_is_on_the_account_of_the_first_train_task(services: Services) -> None:
    """Data that a warm-up has read are billed as if that task had read them; others hold nothing back for them."""

    class Reading(Ready):
        def warm_up(self, run: Run) -> None:
            services.files.write("x_train.npy", [bytes(100_000)], durable=False)
            services.files.read("x_train.npy")

    services.store.create_run(make_run())
    init = wiring.Init()
    warm_up(warm_up_event(RUN_ID), Reading(), init)  # type: ignore[arg-type]
    for kind, run_id in (("initialise", RUN_ID), ("train", "r-another0")):
        assert init.take_transfer(first_task(kind, run_id)) == NOTHING
    taken = [init.take_transfer(first_task("train", RUN_ID)) for _ in range(2)]
    assert taken[0].read_bytes == METADATA_BYTES + metered_bytes(100_000)
    assert taken[1] == NOTHING


@pytest.mark.parametrize("problem", [LibrariesMissing("somewhere", "nothing is there"), MemoryError("too large")])
def test_what_cannot_be_loaded_is_left_to_the_first_task_to_report(services: Services, problem: Exception) -> None:
    services.store.create_run(make_run())
    init = wiring.Init()
    answer = warm_up(warm_up_event(RUN_ID), Ready(problem), init)  # type: ignore[arg-type]
    assert answer["outcome"] == "left" and str(problem) in answer["why"]
    assert [span.name for span in init.take()] == ["init", "libraries"]
    assert services.store.load_task(RUN_ID, TaskKey(round_index=0, kind="initialise")) is None


def test_nothing_is_built_for_a_run_that_is_over_or_was_removed(services: Services) -> None:
    trainer = Ready()
    assert warm_up(warm_up_event(RUN_ID), trainer, wiring.Init())["outcome"] == "left"  # type: ignore[arg-type]
    services.store.create_run(make_run(status="CANCELLED", ended_at=NOW))
    assert "CANCELLED" in warm_up(warm_up_event(RUN_ID), trainer, wiring.Init())["why"]  # type: ignore[arg-type]
    assert trainer.runs == []


@pytest.mark.parametrize("run_id", ["../x", "", None, 7, ["r-7f00"]])
def test_an_event_that_names_no_run_is_refused(run_id: Any) -> None:
    with pytest.raises(InvalidRunId):
        warm_up({"warm_up": True, "run_id": run_id}, Ready(), wiring.Init())  # type: ignore[arg-type]
