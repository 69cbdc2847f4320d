"""A run that is removed from DynamoDB: nothing is left of it, and nothing comes back."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from contracts.errors import RunNotFound
from contracts.records import Span, SpanBatch, Task, TaskKey
from contracts.stack_errors import StoreRefused
from fakes.dynamodb_table import TABLE
from fakes.scripted_dynamodb import refusal
from stores.dynamodb import DynamoStore
from unit.stores.scripted_store import KEY, RUN_ID, TASK, Cloud, make_round, make_run, make_steps


def fill(store: DynamoStore) -> None:
    """A run with a bit of everything, also telemetry of a combine task, which the run's shape does not show."""
    combine = TaskKey(round_index=1, kind="combine", index=5, generation=1)
    for index in range(40):
        assert store.save_task(RUN_ID, replace(TASK, key=replace(KEY, index=index)))
        store.put_steps(RUN_ID, make_steps(index))
    assert store.save_task(RUN_ID, Task(key=combine, version=1))
    span = Span(name="load", start_s=1.0, end_s=2.0)
    store.put_spans(RUN_ID, SpanBatch(key=combine, attempt=1, request_id="a", spans=(span,)))
    assert store.save_run(make_run(version=2), make_round(1))


def left_over(cloud: Cloud) -> list[str]:
    found = cloud.real.scan(TableName=TABLE)["Items"]
    return sorted(f"{item['pk']['S']} {item['sk']['S']}" for item in found)


def test_a_removed_run_leaves_no_item(cloud: Cloud) -> None:
    fill(cloud.store)

    def few_only(request: dict[str, Any]) -> dict[str, Any]:
        asked = request["RequestItems"][TABLE]
        cloud.real.batch_write_item(RequestItems={TABLE: asked[:3]})
        return {"UnprocessedItems": {TABLE: asked[3:]}}

    cloud.client.change_requests("batch_write_item", few_only, few_only)
    cloud.another(page_items=7).delete_run("r-none")
    cloud.store.delete_run(RUN_ID)
    assert left_over(cloud) == []


def test_a_removal_that_was_cut_short_is_seen_and_can_be_done_again(cloud: Cloud) -> None:
    fill(cloud.store)
    cloud.client.refuse("batch_write_item", refusal("AccessDeniedException"))
    with pytest.raises(StoreRefused):
        cloud.store.delete_run(RUN_ID)
    other = cloud.another()
    (run,) = other.list_runs()
    assert (run.status, run.reason) == ("CANCELLED", "removed") and other.open_run_ids() == []
    other.delete_run(RUN_ID)
    assert left_over(cloud) == []


def test_nothing_is_written_about_a_run_that_is_being_removed(cloud: Cloud) -> None:
    late = cloud.another()
    run = late.load_run(RUN_ID)
    cloud.client.refuse("batch_write_item", refusal("AccessDeniedException"))
    fill(cloud.store)
    with pytest.raises(StoreRefused):
        cloud.store.delete_run(RUN_ID)
    again = replace(TASK, version=2, attempt=1)
    fenced = late.load_run(RUN_ID)
    assert not late.save_task(RUN_ID, again, stage=run.stage), "neither claimed nor offered"
    assert late.save_tasks(RUN_ID, [again], stage=fenced.stage) == [False]
    for version in (run.version + 1, fenced.version + 1):
        assert not late.save_run(replace(run, version=version))
        assert not late.save_run(replace(run, version=version), make_round(7))
    cloud.store.delete_run(RUN_ID)
    assert not late.save_task(RUN_ID, again), "a late report finds no task"
    assert not late.save_tasks(RUN_ID, [TASK], stage=run.stage)[0]
    assert not late.save_run(replace(run, version=run.version + 1))
    assert left_over(cloud) == []
    with pytest.raises(RunNotFound):
        cloud.store.load_run(RUN_ID)
