"""DynamoDB's request units of a run, by AWS's rules, from the sizes of its records.

A write is 1 unit for each begun KB, twice in a transaction; a condition check in one costs as a write. A consistent
read is 1 unit for each begun 4 KB. Which writes there are, and how they are batched, docs/adr/0006-one-table.md says; a
test holds these sums against the store's own requests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from contracts.records import Record, RoundRecord, Run, Task, TaskKey
from runs.summary import RunHistory

WRITE_BYTES = 1024
READ_BYTES = 4096
ITEM_BYTES = 130
"""Of an item beside its record: keys, version, status."""

CLAIM_BYTES = 190
OFFERS_IN_BATCH = 99
REPORTS_A_RECONCILE = 32
WORKERS_A_STAGE_ITEM = 16
STAGE_ITEMS = 16
PHASES = 6
"""Changes of stage outside of rounds: start, prepared, initialised, evaluated, cleared, and the creation."""

STAGE_CHANGES_A_ROUND = 2
INDEX_WRITES = 3
"""Two indexes at the creation, one at the end."""


class TableUnits(NamedTuple):
    """What the table bills, and the bytes that stay in it."""

    writes: float
    reads: float
    stored_bytes: float
    reconciles: float

    def plus(self, other: TableUnits) -> TableUnits:
        """Both together."""
        return TableUnits(*(one + two for one, two in zip(self, other, strict=True)))


def write_units(size_bytes: float) -> int:
    """Of a plain write."""
    return math.ceil(size_bytes / WRITE_BYTES)


def read_units(size_bytes: float) -> int:
    """Of a consistent read."""
    return math.ceil(size_bytes / READ_BYTES)


def record_bytes(record: Record) -> int:
    """How large an item that holds it is."""
    return len(msgspec.json.encode(record)) + ITEM_BYTES


def table_units(history: RunHistory) -> TableUnits:
    """Of a whole run, as far as it is recorded."""
    run_bytes = record_bytes(history.run)
    tasks: dict[int, list[Task]] = {}
    for task in history.tasks:
        tasks.setdefault(task.key.round_index, []).append(task)
    rounds = {record.round_index: record for record in history.rounds}
    found = run_units(history.run, run_bytes)
    for index, of_round in tasks.items():
        found = found.plus(round_units(history.run, run_bytes, of_round, rounds.get(index)))
    telemetry = [record_bytes(batch) for batch in (*history.steps, *history.spans, *history.predictions)]
    writes = sum(map(write_units, telemetry)) + sum(packed.table_writes for packed in history.packed_steps)
    stored = sum(telemetry) + sum(packed.table_bytes for packed in history.packed_steps)
    return found.plus(TableUnits(writes, 0, stored, 0))


def round_units(run: Run, run_bytes: float, tasks: Sequence[Task], record: RoundRecord | None) -> TableUnits:
    """Of one round: offers, claims and reports of its tasks, and the run's two changes of stage. No telemetry."""
    sizes = {task.key: record_bytes(task) for task in tasks}
    attempts = {task.key: len(task.history) + (task.claim is not None) for task in tasks}
    offered = {task.key: record_bytes(_bare(task)) for task in tasks}
    writes = 0.0
    for task in tasks:
        offer, claim = write_units(offered[task.key]), write_units(offered[task.key] + CLAIM_BYTES)
        # A claim checks the stage, 2 units; an offer's check is shared by its batch.
        writes += attempts[task.key] * (2 * offer + 2 * claim + 2) + len(task.history) * write_units(sizes[task.key])
    writes += 2 * math.ceil(sum(attempts.values()) / OFFERS_IN_BATCH)
    stored = float(sum(sizes.values()))
    if record is not None:
        writes += STAGE_CHANGES_A_ROUND * _stage_change(run, run_bytes) + 2 * write_units(record_bytes(record))
        stored += record_bytes(record)
    reconciles = sum(_reconciles(kind, attempts) for kind in {key.kind for key in attempts})
    return TableUnits(writes, _reads(run_bytes, sizes, attempts, reconciles), stored, reconciles)


def _reads(run_bytes: float, sizes: Mapping[TaskKey, int], attempts: Mapping[TaskKey, int], reconciles: int) -> float:
    """Each attempt reads the run and its task twice, a worker its last one, a combine task all reports, half price."""
    whole = sum(sizes.values())
    units = reconciles * (read_units(run_bytes) + read_units(whole))
    for key, count in attempts.items():
        units += count * (read_units(run_bytes) + 2 * read_units(sizes[key]))
        if key.kind == "train" and key.round_index > 1:
            units += count * read_units(sizes[key])
    combines = sum(count for key, count in attempts.items() if key.kind == "combine")
    return units + combines * read_units(whole) / 2


def _reconciles(kind: str, attempts: Mapping[TaskKey, int]) -> int:
    """Reports come in batches; the last of a stage opens the next one."""
    of_kind = sum(count for key, count in attempts.items() if key.kind == kind)
    return math.ceil(of_kind / REPORTS_A_RECONCILE)


def run_units(run: Run, run_bytes: float) -> TableUnits:
    """Of the run's own item outside of rounds: its phases, and budgets granted in between."""
    stage_changes = PHASES + STAGE_CHANGES_A_ROUND * max(0, run.round_index - 1)
    plain = max(0, run.version - stage_changes)
    writes = PHASES * _stage_change(run, run_bytes) + plain * write_units(run_bytes) + INDEX_WRITES
    return TableUnits(writes, PHASES * read_units(run_bytes), run_bytes, PHASES)


def _stage_change(run: Run, run_bytes: float) -> int:
    """The run and the items that repeat its stage, in one transaction."""
    stages = max(1, min(STAGE_ITEMS, math.ceil(run.settings.workers / WORKERS_A_STAGE_ITEM)))
    return 2 * (write_units(run_bytes) + stages)


def _bare(task: Task) -> Task:
    """As it was offered."""
    return replace(task, report=None, resume=None, claim=None, history=())
