"""The run store on DynamoDB: one table for all runs, many writers, no locks.

Every write that decides is conditional on the version before it, every read that decides is consistent. A claim is
also conditional on the run's stage, which lies in small items beside the run (see `docs/adr/0006-one-table.md`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from contracts.errors import RunExists, RunNotFound
from contracts.records import PredictionBatch, Record, RoundRecord, Run, SpanBatch, StepBatch, Task, TaskKey
from stores import dynamodb_items as items
from stores.dynamodb_items import Item
from stores.dynamodb_table import (
    ABSENT,
    MAX_ACTIONS,
    PRESENT,
    Action,
    Backoff,
    Check,
    Delete,
    Put,
    Table,
    at_stage,
    at_version,
)

DEFAULT_TELEMETRY_DAYS = 30.0
DAY_S = 86_400.0
THREADS = 16
MAX_TRANSACTION_BYTES = 3_500_000
MAX_REMEMBERED_RUNS = 1_000

_R = TypeVar("_R", bound=Record)


class _Seen(NamedTuple):
    """What this process knows of a run without reading it: facts that never change for that version."""

    version: int
    stage: str
    workers: int
    slices: int


class DynamoStore:
    """Implements `contracts.ports.RunStore` and `Telemetry` on one DynamoDB table. Threads may share it.

    Args:
        table: the table's name.
        client: `boto3.client("dynamodb")`.
        telemetry_days: how long progress is kept.
        now: seconds since 1970, for telemetry's expiry.
    """

    def __init__(
        self,
        table: str,
        client: Any,
        *,
        telemetry_days: float = DEFAULT_TELEMETRY_DAYS,
        backoff: Backoff | None = None,
        now: Callable[[], float] = time.time,
        page_items: int | None = None,
    ) -> None:
        self._table = Table(table, client, backoff or Backoff(), page_items)
        self._telemetry_s = telemetry_days * DAY_S
        self._now = now
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()

    # --- runs ---

    def create_run(self, run: Run) -> None:
        """See `RunStore.create_run`."""
        if self._table.transact([Put(items.run_item(run), ABSENT), *map(Put, items.stage_items(run))]):
            raise RunExists(f"run {run.run_id}", "it exists already", "a new id")
        self._remember(run)

    def load_run(self, run_id: str) -> Run:
        """See `RunStore.load_run`."""
        item = self._table.get(items.run_key(run_id))
        if item is None:
            raise RunNotFound(f"run {run_id}", f"it is not in table {self._table.name}")
        return self._remember(items.decode(item, Run))

    def save_run(self, run: Run, record: RoundRecord | None = None) -> bool:
        """See `RunStore.save_run`."""
        item, condition = items.run_item(run), at_version(run.version - 1)
        if record is None and self._is_known_at(run):
            saved = self._table.put(item, condition)
        else:
            actions: list[Action] = [Put(item, condition), *map(Put, items.stage_items(run))]
            if record is not None:
                actions.append(Put(items.round_item(run.run_id, record), ABSENT))
            saved = not self._table.transact(actions)
        if saved:
            self._remember(run)
        return saved

    def list_runs(self, limit: int = 100) -> Sequence[Run]:
        """See `RunStore.list_runs`."""
        listed = self._table.index(
            items.RUNS_BY_TIME, "listing", items.LISTING, forward=False, page_items=max(1, limit)
        )
        found = self._table.get_many(list(islice(listed, limit)))
        return items.newest_first(self._remember(items.decode(item, Run)) for item in found)

    def open_run_ids(self) -> Sequence[str]:
        """See `RunStore.open_run_ids`."""
        listed = self._table.index(items.OPEN_RUNS, "open", items.OPEN, forward=True)
        return [items.run_id_of(key) for key in listed]

    def delete_run(self, run_id: str) -> None:
        """See `RunStore.delete_run`.

        First the run is fenced off: its stage items go, so that nothing is offered or claimed any more, and no save
        meets its version. The run's own item goes last: a removal that was cut short is seen, and can be done again.
        """
        run = self._fence(run_id)
        control = self._table.keys(items.partition(run_id))
        sort_keys = [key["sk"]["S"] for key in control]
        parts = {items.telemetry_part_of(key) for key in sort_keys if key.startswith(items.TASKS)}
        if run is not None:
            parts |= set(_telemetry_parts(run.settings.workers, run.slices))
        self._side_by_side(lambda part: self._delete_partition(run_id, part), sorted(parts))
        self._table.delete_many([key for key in control if key["sk"]["S"] != items.RUN])
        self._table.delete_many([items.run_key(run_id)])
        with self._lock:
            self._seen.pop(run_id, None)

    def load_rounds(self, run_id: str, after: int = 0) -> Sequence[RoundRecord]:
        """See `RunStore.load_rounds`."""
        low, high = f"{items.ROUNDS}{after + 1:06d}", f"{items.ROUNDS}{items.BEHIND_ALL}"
        return [items.decode(item, RoundRecord) for item in self._table.range(items.partition(run_id), low, high)]

    def make_durable(self) -> None:
        """Nothing to do: DynamoDB has every answered write in three places."""

    # --- tasks ---

    def load_task(self, run_id: str, key: TaskKey) -> Task | None:
        """See `RunStore.load_task`."""
        item = self._table.get(items.task_key(run_id, key))
        return None if item is None else items.decode(item, Task)

    def load_tasks(self, run_id: str, round_index: int, *, consistent: bool = True) -> dict[TaskKey, Task]:
        """See `RunStore.load_tasks`."""
        prefix = f"{items.TASKS}{round_index:06d}#"
        found = self._table.range(items.partition(run_id), prefix, prefix + items.BEHIND_ALL, consistent=consistent)
        return {task.key: task for task in (items.decode(item, Task) for item in found)}

    def save_task(self, run_id: str, task: Task, *, stage: str | None = None) -> bool:
        """See `RunStore.save_task`."""
        if stage is not None:
            return self.save_tasks(run_id, [task], stage=stage) == [True]
        return self._table.put(items.task_item(run_id, task), at_version(task.version - 1))

    def save_tasks(self, run_id: str, tasks: Sequence[Task], *, stage: str) -> list[bool]:
        """See `RunStore.save_tasks`. As few transactions as may be: each checks the stage once for many tasks."""
        try:
            workers = self._shape(run_id).workers
        except RunNotFound:
            return [False] * len(tasks)
        puts = [Put(items.task_item(run_id, task), at_version(task.version - 1)) for task in tasks]
        saved: set[int] = set()
        for number, chunk in enumerate(_chunks(puts)):
            # A single claim checks the stage item of its own index: neighbours do not meet on one.
            index = tasks[chunk[0]].key.index if len(chunk) == 1 else number
            check = Check(items.stage_key(run_id, index, workers), at_stage(stage))
            saved |= self._save_chunk(check, puts, chunk)
        return [position in saved for position in range(len(tasks))]

    def _save_chunk(self, check: Check, puts: Sequence[Put], chunk: Sequence[int]) -> set[int]:
        """Which of these were saved: all in one transaction, or those that remain without the lost ones."""
        left = list(chunk)
        while left:
            failed = self._table.transact([check, *(puts[position] for position in left)])
            if not failed:
                break
            if 0 in failed:
                return set()
            left = [position for place, position in enumerate(left, start=1) if place not in failed]
        return set(left)

    # --- telemetry ---

    def put_steps(self, run_id: str, batch: StepBatch) -> None:
        """See `Telemetry.put_steps`."""
        self._table.put(items.steps_item(run_id, batch, self._now() + self._telemetry_s))

    def put_spans(self, run_id: str, batch: SpanBatch) -> None:
        """See `Telemetry.put_spans`."""
        self._table.put(items.spans_item(run_id, batch, self._now() + self._telemetry_s))

    def put_predictions(self, run_id: str, batch: PredictionBatch) -> None:
        """See `Telemetry.put_predictions`."""
        self._table.put(items.predictions_item(run_id, batch, self._now() + self._telemetry_s))

    def read_steps(self, run_id: str, cursor: str = "") -> tuple[Sequence[StepBatch], str]:
        """See `Telemetry.read_steps`. In order of time, as far as the workers' clocks agree."""
        batches, cursor = self._read_workers(run_id, items.STEPS, cursor, StepBatch)
        return sorted(batches, key=lambda batch: batch.ended_at), cursor

    def read_spans(self, run_id: str, cursor: str = "") -> tuple[Sequence[SpanBatch], str]:
        """See `Telemetry.read_spans`. In order of time, as far as the workers' clocks agree."""
        try:
            shape = self._shape(run_id)
            if not shape.slices:  # not known before the run is initialised
                shape = self._as_seen(self.load_run(run_id))
        except RunNotFound:
            return [], cursor
        parts = _telemetry_parts(shape.workers, shape.slices)
        batches, cursor = self._read(run_id, items.SPANS, parts, cursor, SpanBatch)
        return sorted(batches, key=lambda batch: max((span.end_s for span in batch.spans), default=0.0)), cursor

    def read_predictions(self, run_id: str, cursor: str = "") -> tuple[Sequence[PredictionBatch], str]:
        """See `Telemetry.read_predictions`. In order of time, as far as the workers' clocks agree."""
        batches, cursor = self._read_workers(run_id, items.PREDICTIONS, cursor, PredictionBatch)
        return sorted(batches, key=lambda batch: batch.made_at), cursor

    def _read_workers(self, run_id: str, prefix: str, cursor: str, of_type: type[_R]) -> tuple[list[_R], str]:
        try:
            workers = self._shape(run_id).workers
        except RunNotFound:
            return [], cursor
        parts = [part for part in _telemetry_parts(workers, 0) if part.startswith("train#")]
        return self._read(run_id, prefix, parts, cursor, of_type)

    def _read(
        self, run_id: str, prefix: str, parts: Sequence[str], cursor: str, of_type: type[_R]
    ) -> tuple[list[_R], str]:
        positions = items.read_cursor(cursor)
        now = self._now()

        def read(part: str) -> list[Item]:
            # A space sorts behind the text before it, and before whatever else continues that text.
            low = f"{prefix}{positions[part]} " if part in positions else prefix
            pages = self._table.range(items.partition(run_id, part), low, prefix + items.BEHIND_ALL, consistent=False)
            return list(pages)

        batches: list[_R] = []
        for part, found in zip(parts, self._side_by_side(read, parts), strict=True):
            if found:
                positions[part] = found[-1]["sk"]["S"].removeprefix(prefix)
            # Deleting what has expired takes DynamoDB days.
            batches += [items.decode(item, of_type) for item in found if float(item["expires_at"]["N"]) > now]
        return batches, items.write_cursor(positions)

    # --- what is known of runs ---

    def _remember(self, run: Run) -> Run:
        with self._lock:
            if len(self._seen) >= MAX_REMEMBERED_RUNS and run.run_id not in self._seen:
                self._seen.clear()
            self._seen[run.run_id] = self._as_seen(run)
        return run

    def _as_seen(self, run: Run) -> _Seen:
        return _Seen(run.version, run.stage, run.settings.workers, max(0, run.slices))

    def _shape(self, run_id: str) -> _Seen:
        """How many workers a run has: known to whoever has read its stage. Its stage here may be an older one."""
        with self._lock:
            seen = self._seen.get(run_id)
        return seen or self._as_seen(self.load_run(run_id))

    def _is_known_at(self, run: Run) -> bool:
        """Whether the version before this one was surely at the same stage."""
        with self._lock:
            seen = self._seen.get(run.run_id)
        return seen is not None and (seen.version, seen.stage) == (run.version - 1, run.stage)

    # --- removal ---

    def _fence(self, run_id: str) -> Run | None:
        """Keep everybody from writing about the run. Returns it, or None where there is none."""
        item = self._table.get(items.run_key(run_id))
        if item is None:
            return None
        run = items.decode(item, Run)
        if not run.ended:
            run = replace(run, status="CANCELLED", reason="removed")
        fenced = items.run_item(run) | {"version": {"N": str(items.FENCE)}}
        stages = [Delete(items.key_of(stage)) for stage in items.stage_items(run)]
        self._table.transact([Put(fenced, PRESENT), *stages])
        return run

    def _delete_partition(self, run_id: str, part: str) -> None:
        self._table.delete_many(self._table.keys(items.partition(run_id, part)))

    def _side_by_side[T](self, work: Callable[[str], T], parts: Sequence[str]) -> list[T]:
        if len(parts) < 2:
            return [work(part) for part in parts]
        with ThreadPoolExecutor(min(THREADS, len(parts))) as pool:
            return list(pool.map(work, parts))


def _telemetry_parts(workers: int, slices: int) -> list[str]:
    """The telemetry partitions that a run of this shape may have."""
    counts = {"prepare": 1, "extract": workers, "initialise": 1, "train": workers, "combine": slices}
    counts |= {"evaluate": 1, "clear": 2}
    return [f"{kind}#{index:04d}" for kind, count in counts.items() for index in range(count)]


def _chunks(puts: Sequence[Put]) -> Iterable[list[int]]:
    """The positions of items that fit into one transaction each, beside their check."""
    chunk: list[int] = []
    size = 0
    for position, put in enumerate(puts):
        more = items.item_bytes(put.item)
        if chunk and (len(chunk) == MAX_ACTIONS - 1 or size + more > MAX_TRANSACTION_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(position)
        size += more
    if chunk:
        yield chunk
