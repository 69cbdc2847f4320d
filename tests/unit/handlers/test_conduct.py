"""Conduct: one reconcile a run in a batch, poison alone is delivered again, failed invocations end their claims."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from handler_helpers import (
    NOW,
    RUN_ID,
    VARIABLES,
    Context,
    Invocations,
    failed_names,
    image_record,
    make_run,
    queue_record,
    sample,
    stream_record,
)

from contracts.errors import InvalidMessage, InvocationFailed
from contracts.records import Run, Task, TaskKey
from contracts.stack_errors import InvalidRecord, InvokeForbidden, StoreUnreachable
from fakes.memory_store import MemoryStore
from handlers import conduct
from runs import transitions
from runs.services import Services
from stores.dynamodb_items import run_item

PREPARE = TaskKey(round_index=0, kind="prepare")
ARN = "arn:aws:lambda:us-east-1:000000000000:function:lambdafit-prepare:$LATEST"
Event = dict[str, Any]


def reconciled(services: Services) -> list[tuple[str, str]]:
    """Function and run of each invocation that was sent."""
    assert isinstance(services.invoker, Invocations)
    return [(function, event["run_id"]) for function, event in services.invoker.sent]


def handle(*records: Event, remaining_ms: int = 60_000) -> list[str]:
    return failed_names(conduct.handler({"Records": list(records)}, Context(remaining_ms=remaining_ms)))


def begin(services: Services, run_id: str = RUN_ID) -> Run:
    run = make_run(run_id)
    services.store.create_run(run)
    return run


def task_of(services: Services) -> Task:
    task = services.store.load_task(RUN_ID, PREPARE)
    assert task is not None
    return task


def claim(services: Services) -> Task:
    """The prepare task, claimed by the invocation "request-1"."""
    begin(services)
    handle(stream_record(make_run(), 1, name="INSERT"))
    offered = task_of(services)
    claimed = transitions.claimed(offered, 1, "ab" * 8, "request-1", make_run().settings, NOW)
    assert services.store.save_task(RUN_ID, claimed)
    assert isinstance(services.invoker, Invocations)
    services.invoker.take()
    return claimed


def failure(*, condition: str = "RetriesExhausted", request_id: str = "request-1", **more: Any) -> Event:
    """What Lambda says of the invocation that prepares."""
    context = {"requestId": request_id, "functionArn": ARN, "condition": condition, "approximateInvokeCount": 1}
    payload = {"run_id": RUN_ID, "task": "prepare", "round_index": 0, "index": 0, "attempt": 1}
    return {"version": "1.0", "requestContext": context, "requestPayload": payload} | more


class TestStream:
    """Records of the table's stream."""

    def test_a_new_run_is_begun(self, services: Services) -> None:
        run = begin(services)
        assert handle(stream_record(run, 1, name="INSERT")) == []
        assert services.store.load_run(RUN_ID).status == "RUNNING"
        assert reconciled(services) == [("prepare", RUN_ID)]

    def test_duplicates_and_any_order_change_nothing(self, services: Services) -> None:
        run = begin(services)
        record = stream_record(run, 5)
        assert handle(record, stream_record(run, 3), record) == []
        assert handle(record) == []
        assert reconciled(services) == [("prepare", RUN_ID)]

    def test_each_run_of_a_batch_is_reconciled_once(self, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[str] = []
        original = conduct.reconcile

        def counted(ports: Services, run_id: str, ended: Any) -> Any:
            seen.append(run_id)
            return original(ports, run_id, ended)

        monkeypatch.setattr(conduct, "reconcile", counted)
        runs = [begin(services, f"r-{name}") for name in ("aaaa", "bbbb")]
        records = [stream_record(runs[i % 2], i + 1) for i in range(6)]
        assert handle(*records) == []
        assert seen == ["r-aaaa", "r-bbbb"]

    def test_removals_telemetry_and_runs_being_deleted_concern_nobody(self, services: Services) -> None:
        run = begin(services)
        steps = {"pk": {"S": f"run#{RUN_ID}#train#0000"}, "sk": {"S": "steps#1"}, "kind": {"S": "steps"}}
        fenced = run_item(run) | {"version": {"N": "-1"}}
        records = [
            stream_record(run, 1, name="REMOVE"),
            image_record(steps, 2),
            image_record({**steps, "kind": {"S": "stage"}}, 3),
            image_record(fenced, 4),
        ]
        assert handle(*records) == []
        assert reconciled(services) == []

    def test_a_run_that_was_deleted_meanwhile_is_no_failure(self, services: Services) -> None:
        assert handle(stream_record(make_run("r-gone"), 1)) == []

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda r: r["dynamodb"].update(NewImage=None),
            lambda r: r["dynamodb"].update(NewImage={"pk": "run"}),
            lambda r: r["dynamodb"]["NewImage"].update(kind={"S": "poem"}),
            lambda r: r["dynamodb"]["NewImage"].update(pk={"S": "run#../../etc"}),
            lambda r: r["dynamodb"]["NewImage"].update(pk={"S": "order#r-7f3a9c01b2"}),
            lambda r: r["dynamodb"]["NewImage"].update(sk={"S": "elsewhere"}),
            lambda r: r["dynamodb"]["NewImage"].update(data={"S": "{"}),
            lambda r: r["dynamodb"]["NewImage"].update(data={"S": '{"run_id": 7}'}),
            lambda r: r["dynamodb"]["NewImage"].update(data="text"),
            lambda r: r["dynamodb"]["NewImage"].pop("data"),
            lambda r: r.update(eventName="TRUNCATE"),
            lambda r: r.update(eventSource="aws:kinesis"),
            lambda r: r.update(eventSourceARN="arn:aws:dynamodb:us-east-1:0:table/other-stack/stream/1"),
            lambda r: r.pop("eventSourceARN"),
        ],
    )
    def test_poison_goes_back_alone_and_the_others_go_on(self, services: Services, spoil: Any) -> None:
        run, other = begin(services), begin(services, "r-bbbb")
        poisoned = stream_record(make_run("r-cccc"), 20)
        spoil(poisoned)
        assert handle(stream_record(run, 10), poisoned, stream_record(other, 30)) == ["20"]
        assert reconciled(services) == [("prepare", RUN_ID), ("prepare", "r-bbbb")]

    def test_of_several_poisoned_records_the_lowest_comes_first(self, services: Services) -> None:
        poisoned = [image_record({"kind": {"S": "poem"}}, number) for number in (300, 9, 20)]
        assert handle(*poisoned) == ["9", "20", "300"]

    def test_a_record_without_a_number_fails_the_batch_after_the_others_went_on(self, services: Services) -> None:
        run = begin(services)
        with pytest.raises(InvalidRecord, match="E421"):
            handle({"eventSource": "aws:dynamodb"}, stream_record(run, 1))
        assert reconciled(services) == [("prepare", RUN_ID)]

    def test_a_run_that_fails_takes_all_its_records_along_and_no_others(
        self, services: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Moody(MemoryStore):
            def load_run(self, run_id: str) -> Run:
                if run_id == "r-aaaa":
                    raise StoreUnreachable("table", "no answer")
                return super().load_run(run_id)

        store = services.store
        assert isinstance(store, MemoryStore)
        bad, good = begin(services, "r-aaaa"), begin(services)
        moody = Moody()
        moody.runs = store.runs
        monkeypatch.setattr(conduct.wiring, "services", lambda: _with_store(services, moody))
        assert handle(stream_record(bad, 7), stream_record(good, 8), stream_record(bad, 9)) == ["7", "9"]
        assert reconciled(services) == [("prepare", RUN_ID)]

    def test_what_there_is_no_time_for_is_delivered_again(self, services: Services) -> None:
        assert handle(stream_record(begin(services), 4), remaining_ms=1_000) == ["4"]
        assert reconciled(services) == []

    @pytest.mark.parametrize("event", [{}, {"Records": "no"}, {"start": True}])
    def test_an_event_of_another_shape_is_refused(self, services: Services, event: Event) -> None:
        with pytest.raises(InvalidMessage, match="E109"):
            conduct.handler(event, Context())

    def test_a_throttled_function_is_offered_again_later(self, services: Services) -> None:
        assert isinstance(services.invoker, Invocations)
        services.invoker.refusal = InvocationFailed("function lambdafit-prepare", "TooManyRequestsException")
        assert handle(stream_record(begin(services), 1)) == []
        assert task_of(services).status == "OFFERED"

    def test_a_function_that_may_not_be_invoked_ends_the_run_with_the_reason(self, services: Services) -> None:
        assert isinstance(services.invoker, Invocations)
        services.invoker.refusal = InvokeForbidden("function lambdafit-prepare", "AccessDeniedException: no")
        assert handle(stream_record(begin(services), 1)) == []
        run = services.store.load_run(RUN_ID)
        assert run.status == "FAILED" and run.error is not None and run.error.number == "E424"


class TestFailedInvocations:
    """Messages of the queue that Lambda sends failed invocations to."""

    def test_the_claim_ends_at_once_and_the_task_is_offered_again(self, services: Services) -> None:
        claim(services)
        answer = {
            "errorType": "Sandbox.Timedout",
            "errorMessage": "RequestId: 1 Error: Task timed out after 9.00 seconds",
        }
        assert handle(queue_record(failure(responsePayload=answer), "m-1")) == []
        task = task_of(services)
        assert (task.status, task.attempt, task.failures) == ("OFFERED", 2, 1)
        assert task.history[0].outcome == "lost"

    @pytest.mark.parametrize(
        ("kind", "said", "number"),
        [
            ("Sandbox.Timedout", "RequestId: 1 Error: Task timed out after 900.00 seconds", "E402"),
            ("Runtime.OutOfMemory", "RequestId: 1 Error: Runtime exited with error: signal: killed", "E403"),
            ("Runtime.ExitError", "RequestId: 1 Error: Runtime exited with error: signal: killed", "E403"),
            ("EFSMountTimeout", "The function couldn't mount the file system", "E440"),
            ("EFSMountConnectivityException", "no route", "E440"),
            ("EFSMountFailureException", "access point", "E440"),
            ("EFSIOException", "stuck", "E440"),
        ],
    )
    def test_the_error_is_lambdas_own(self, services: Services, kind: str, said: str, number: str) -> None:
        claim(services)
        settings = services.store.load_run(RUN_ID).settings
        exhausting = settings.max_attempts
        for attempt in range(exhausting):
            task = task_of(services)
            if task.status == "OFFERED":
                again = transitions.claimed(task, 0, f"{attempt:016x}", "request-1", settings, NOW)
                assert services.store.save_task(RUN_ID, again)
            answer = {"errorType": kind, "errorMessage": said}
            assert handle(queue_record(failure(responsePayload=answer), f"m-{attempt}")) == []
        run = services.store.load_run(RUN_ID)
        assert run.status == "FAILED" and run.error is not None and run.error.number == "E405"
        assert number in run.error.message

    def test_an_event_that_grew_too_old_leaves_its_offer_to_expire(self, services: Services) -> None:
        """Throttling lasts: offered again at once, a task would use up its offers while others hold the concurrency."""
        begin(services)
        handle(stream_record(make_run(), 1))
        before = task_of(services)
        message = queue_record(failure(condition="EventAgeExceeded", request_id="request-9"), "m-1")
        assert handle(message) == []
        assert task_of(services) == before
        assert (before.status, before.attempt, before.offers) == ("OFFERED", 1, 1)

    def test_an_old_message_ends_nobodys_claim(self, services: Services) -> None:
        claimed = claim(services)
        message = failure(request_id="another", responsePayload={"errorMessage": "Task timed out after 9.00 seconds"})
        assert handle(queue_record(message, "m-1")) == []
        assert task_of(services) == claimed

    @pytest.mark.parametrize(
        "body",
        [
            "no json",
            "[]",
            "{}",
            json.dumps(failure() | {"requestPayload": {"hello": "world"}}),
            json.dumps(failure() | {"requestPayload": {"run_id": "../x", "task": "prepare"}}),
            json.dumps(failure()).replace("lambdafit-prepare", "other-stack-prepare"),
        ],
    )
    def test_poison_goes_back_alone(self, services: Services, body: str) -> None:
        claim(services)
        answer = {"errorMessage": "Task timed out after 9.00 seconds"}
        good = queue_record(failure(responsePayload=answer), "m-2")
        assert handle(queue_record(body, "m-1"), good) == ["m-1"]
        assert task_of(services).attempt == 2

    def test_a_run_that_is_gone_and_a_probe_are_no_failures(self, services: Services) -> None:
        probe = failure() | {"requestPayload": {"probe": True}}
        assert handle(queue_record(failure(), "m-1"), queue_record(probe, "m-2")) == []


def test_the_samples_are_understood(services: Services) -> None:
    begin(services)
    assert failed_names(conduct.handler(sample("conduct"), Context())) == []
    assert failed_names(conduct.handler(sample("conduct-failed"), Context())) == []
    assert ("prepare", RUN_ID) in reconciled(services)
    assert VARIABLES["LAMBDAFIT_TABLE"] == "lambdafit"


def _with_store(services: Services, store: MemoryStore) -> Services:
    return replace(services, store=store, telemetry=store)
