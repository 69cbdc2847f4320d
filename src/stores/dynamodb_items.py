"""What the table's items look like: keys, attributes, and how records become items and come back.

Control items of a run share one partition key; telemetry has one a worker, because a partition key takes 1,000
writes a second. `data` is the record as JSON; the attributes beside it are what conditions, indexes and the stream's
filters need to see.

    run#<id>              run | stage#00 … | task#000007#train#0003 | round#000007
    run#<id>#train#0003   steps#000007#001#000000123 | spans#000007#00#001#<request> | predictions#000006#001
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import msgspec

from contracts.errors import StoreCorrupted
from contracts.records import PredictionBatch, Record, RoundRecord, Run, SpanBatch, StepBatch, Task, TaskKey
from contracts.stack_errors import ItemTooLarge

Item = dict[str, dict[str, str]]
"""An item or a key as DynamoDB's low-level interface has it: attribute → type → value."""

MAX_ITEM_BYTES = 390_000
"""A little under DynamoDB's 400 KB (409,600 bytes, names included)."""

WORKERS_PER_STAGE_ITEM = 16
MAX_STAGE_ITEMS = 16

RUN = "run"
TASKS = "task#"
ROUNDS = "round#"
STAGES = "stage#"
STEPS = "steps#"
SPANS = "spans#"
PREDICTIONS = "predictions#"
BEHIND_ALL = "~"
"""Sorts behind every character that a sort key here is made of."""

RUNS_BY_TIME = "runs-by-time"
OPEN_RUNS = "open-runs"
LISTING = "runs"
OPEN = "1"

FENCE = -1
"""The version attribute of a run that is being deleted: no save can expect it."""

CORRUPTED_ADVICE = (
    "Was the item written by another version of lambdafit, or changed by hand? "
    "The table can be restored to an earlier point in time."
)


# --- keys ---


def partition(run_id: str, part: str = "") -> str:
    """The partition key of a run's control items, or of one task's telemetry."""
    return f"run#{run_id}#{part}" if part else f"run#{run_id}"


def make_key(partition_key: str, sort_key: str) -> Item:
    """Both halves of an item's key."""
    return {"pk": {"S": partition_key}, "sk": {"S": sort_key}}


def key_of(item: Item) -> Item:
    """The key of an item."""
    return {"pk": item["pk"], "sk": item["sk"]}


def run_key(run_id: str) -> Item:
    """A run's key."""
    return make_key(partition(run_id), RUN)


def task_key(run_id: str, key: TaskKey) -> Item:
    """A task's key."""
    return make_key(partition(run_id), f"{TASKS}{key}")


def stage_key(run_id: str, index: int, workers: int) -> Item:
    """The key of the stage item that the task with this index checks: neighbours check different ones."""
    return make_key(partition(run_id), f"{STAGES}{index % stage_items_for(workers):02d}")


def stage_items_for(workers: int) -> int:
    """How many stage items a run has, so that few claims at once meet on one."""
    return min(MAX_STAGE_ITEMS, math.ceil(workers / WORKERS_PER_STAGE_ITEM))


def run_id_of(key: Item) -> str:
    """The run that a control item belongs to."""
    return key["pk"]["S"].partition("#")[2]


def telemetry_part(key: TaskKey) -> str:
    """Which of a run's telemetry partitions a task writes to."""
    return f"{key.kind}#{key.index:04d}"


def telemetry_part_of(sort_key: str) -> str:
    """The same, from a task's sort key."""
    _, _, kind, index = sort_key.split("#")[:4]
    return f"{kind}#{index}"


# --- records to items ---


def run_item(run: Run) -> Item:
    """A run: `open` is there only while it has not ended, so that the index of open runs stays small."""
    item = run_key(run.run_id) | {
        "kind": {"S": "run"},
        "version": {"N": str(run.version)},
        "status": {"S": run.status},
        "stage": {"S": run.stage},
        "created_at": {"N": repr(run.created_at)},
        "listing": {"S": LISTING},
        "data": {"S": encode(run)},
    }
    if not run.ended:
        item["open"] = {"S": OPEN}
    return checked(item)


def stage_items(run: Run) -> list[Item]:
    """The small items that claims are conditional on; the same stage in each."""
    count = stage_items_for(run.settings.workers)
    return [
        stage_key(run.run_id, index, run.settings.workers) | {"kind": {"S": "stage"}, "stage": {"S": run.stage}}
        for index in range(count)
    ]


def task_item(run_id: str, task: Task) -> Item:
    """A task with its claim and its report."""
    return checked(
        task_key(run_id, task.key)
        | {
            "kind": {"S": "task"},
            "task_kind": {"S": task.key.kind},
            "version": {"N": str(task.version)},
            "status": {"S": task.status},
            "data": {"S": encode(task)},
        }
    )


def round_item(run_id: str, record: RoundRecord) -> Item:
    """A committed round."""
    key = make_key(partition(run_id), f"{ROUNDS}{record.round_index:06d}")
    return checked(key | {"kind": {"S": "round"}, "data": {"S": encode(record)}})


def steps_item(run_id: str, batch: StepBatch, expires_at: float) -> Item:
    """Some steps of one worker."""
    key = TaskKey(round_index=batch.round_index, kind="train", index=batch.worker_index)
    sort_key = f"{STEPS}{batch.round_index:06d}#{batch.attempt:03d}#{batch.first_step:09d}"
    return _telemetry_item(run_id, key, "steps", sort_key, batch, expires_at)


def spans_item(run_id: str, batch: SpanBatch, expires_at: float) -> Item:
    """Where an attempt's time went."""
    key = batch.key
    sort_key = f"{SPANS}{key.round_index:06d}#{key.generation:02d}#{batch.attempt:03d}#{batch.request_id}"
    return _telemetry_item(run_id, key, "spans", sort_key, batch, expires_at)


def predictions_item(run_id: str, batch: PredictionBatch, expires_at: float) -> Item:
    """What a worker saw in its part of the validation split. Pictures are base64 within the JSON."""
    key = TaskKey(round_index=batch.parameters_round + 1, kind="train", index=batch.worker_index)
    sort_key = f"{PREDICTIONS}{batch.parameters_round:06d}#{batch.attempt:03d}"
    return _telemetry_item(run_id, key, "predictions", sort_key, batch, expires_at)


def _telemetry_item(run_id: str, key: TaskKey, kind: str, sort_key: str, record: Record, expires_at: float) -> Item:
    return checked(
        make_key(partition(run_id, telemetry_part(key)), sort_key)
        | {"kind": {"S": kind}, "expires_at": {"N": str(int(expires_at))}, "data": {"S": encode(record)}}
    )


# --- and back ---


def encode(record: Record) -> str:
    """A record as JSON."""
    return msgspec.json.encode(record).decode()


def decode[R: Record](item: Item, of_type: type[R]) -> R:
    """The record in an item.

    Raises:
        StoreCorrupted: there is none, or one of another shape.
    """
    where = f"{item['pk']['S']} {item['sk']['S']}"
    try:
        return msgspec.json.decode(item["data"]["S"], type=of_type)
    except (KeyError, TypeError, UnicodeError, RecursionError, msgspec.MsgspecError) as error:
        problem = f"a {of_type.__name__} cannot be read: {error}"
        raise StoreCorrupted(where, problem, advice=CORRUPTED_ADVICE) from error


def item_bytes(item: Item) -> int:
    """How large DynamoDB counts an item: the names of its attributes and their values."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: dict[str, str]) -> int:
    if "N" in value:
        return math.ceil(len(value["N"].strip("-").replace(".", "")) / 2) + 1
    return len(value["S"].encode())


def checked(item: Item) -> Item:
    """The item itself.

    Raises:
        ItemTooLarge: DynamoDB would refuse it.
    """
    size = item_bytes(item)
    if size > MAX_ITEM_BYTES:
        where = f"{item['pk']['S']} {item['sk']['S']}"
        raise ItemTooLarge(where, f"its item is {size:,} bytes", f"at most {MAX_ITEM_BYTES:,}")
    return item


# --- cursors ---


def read_cursor(cursor: str) -> dict[str, str]:
    """How far each telemetry partition has been read: its part → the last sort key, without its prefix."""
    return json.loads(cursor) if cursor else {}


def write_cursor(positions: dict[str, str]) -> str:
    """A cursor as text; the empty one for the beginning."""
    return json.dumps(positions, sort_keys=True, separators=(",", ":")) if positions else ""


def newest_first(runs: Iterable[Run]) -> list[Run]:
    """In the order of `RunStore.list_runs`."""
    return sorted(runs, key=lambda run: (-run.created_at, run.run_id))
