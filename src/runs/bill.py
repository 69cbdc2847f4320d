"""What a run has cost on AWS, or would have: from its records, for finished and running runs alike. Pure.

The lines marked `in_budget` are what the run's own `cost_usd` holds; the others are small and follow from what was
recorded. A run on a laptop is counted as if each function had taken as long on Lambda.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from contracts.messages import FUNCTIONS
from contracts.records import FileRef, Run, Task, TaskKind, Transfer
from contracts.settings import RunSettings
from runs import budget
from runs.cost import memory_mb
from runs.ec2 import ASSUMPTIONS as EC2_ASSUMPTIONS
from runs.ec2 import MachineCost, machine_costs
from runs.price_list import BYTES_PER_GB, Architecture, PriceList, price_list
from runs.summary import KIND_ORDER, RunHistory, summarise
from runs.table_units import TableUnits, table_units
from runs.transfer import data_bytes
from runs.usage import (
    FREE_TMP_MB,
    LIBRARIES_BYTES,
    MONTH_S,
    RANGE_BYTES,
    TRAIN_TMP_MB,
    FunctionUse,
    LineItem,
    Usage,
    bill_lines,
    total_usd,
)

CONDUCT_MEMORY_MB = 1_024
SMALL_MEMORY_MB = 512
RECONCILE_S = 0.3
OFFER_S = 0.01
MONITOR_S = 0.05
POLLS_PER_S = 4.0
"""Lambda looks at a stream's shard so often; it is free."""

START_S = 0.5
SWEEP_S = 0.3
KEPT_ROUNDS = 3
"""Rounds whose files lie on the shared files at once: clearing up stays two behind."""

COMPUTE_SPANS = frozenset({"compute", "evaluate"})
TRAINING: frozenset[TaskKind] = frozenset({"train", "evaluate"})

ASSUMPTIONS = (
    "Lambda: each function's time is as it was measured where the run took place; so are INIT and the libraries.",
    "EFS: bytes as the functions asked for them, at least 32 KiB an operation, 1 GB = 10^9 bytes; what the kernel's "
    "cache answered is counted as read. An attempt that died is counted with the most that it could have moved.",
    f"Estimated: Conduct takes {RECONCILE_S} s a look and {OFFER_S} s an offer, Monitor {MONITOR_S} s a round; "
    "DynamoDB's units follow from the sizes of the records; a new environment of Train reads "
    f"{LIBRARIES_BYTES / 1e6:.0f} MB of libraries from S3 in 8 MiB ranges, whose transfer is free; "
    "2 KB of logs an invocation.",
    "Not counted: free tiers, taxes, data brought into the bucket, CloudWatch's price for the metrics of rounds, "
    "dashboards and commands that look at the run.",
)


class KeptLine(msgspec.Struct, frozen=True):
    """What goes on costing money after the run, a month."""

    name: str
    gb: float
    usd_per_month: float


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """The bill of one run.

    Args:
        lines: by service; `usd` of each is its amount × its price.
        total_usd: of all lines.
        budget_usd: of the lines that the run's budget limits.
        spent_usd: what the run itself says, in x86_64 prices of the default region.
        in_flight_usd: of attempts that have not ended, so far; in the lines, too.
        kept: what stays behind, a month.
        machines: the same work on EC2.
        core_s: seconds of one core that the training took.
    """

    run_id: str
    status: str
    region: str
    price_date: str
    prices: str
    architecture: Architecture
    lines: tuple[LineItem, ...]
    total_usd: float
    budget_usd: float
    spent_usd: float
    in_flight_usd: float
    kept: tuple[KeptLine, ...]
    machines: tuple[MachineCost, ...]
    core_s: float
    assumptions: tuple[str, ...]


def make_bill(history: RunHistory, now: float, *, architecture: Architecture = "x86_64", region: str = "") -> Bill:
    """The bill of a run so far.

    Args:
        now: seconds since 1970, where attempts that go on are cut off.
        region: whose prices; empty for the default region's.
    """
    run, prices = history.run, price_list(region)
    usage = recorded_usage(history, now)
    lines = bill_lines(usage, prices, architecture)
    current = {task.key: task for task in history.tasks if task.key.round_index == run.round_index}
    flying_usd = total_usd(bill_lines(Usage(functions=_in_flight(history, now)), prices, architecture))
    core_s = training_core_s(history)
    return Bill(
        run_id=run.run_id,
        status=run.status,
        region=prices.region,
        price_date=prices.date,
        prices=prices.origin,
        architecture=architecture,
        lines=tuple(lines),
        total_usd=total_usd(lines),
        budget_usd=total_usd(lines, in_budget=True),
        spent_usd=budget.spent_usd(run, current),
        in_flight_usd=flying_usd,
        kept=tuple(_kept(run, usage, prices)),
        machines=tuple(machine_costs(core_s, prices)),
        core_s=core_s,
        assumptions=(*ASSUMPTIONS, *EC2_ASSUMPTIONS),
    )


def recorded_usage(history: RunHistory, now: float) -> Usage:
    """What a run has taken, from its records."""
    units = table_units(history)
    elapsed_s = summarise(history, now).elapsed_s
    colds = sum(
        any(span.name == "init" for span in batch.spans) for batch in history.spans if _is_train(batch.key.kind)
    )
    return Usage(
        functions=[
            *_attempts(history.run, history.tasks),
            *_in_flight(history, now),
            *_cold_starts(history),
            *light_functions(history.run.settings.workers, len(history.rounds), len(history.tasks), units, elapsed_s),
        ],
        transfer=_transferred(history.tasks),
        stored_gb_months=_live_bytes(history.run) / BYTES_PER_GB * elapsed_s / MONTH_S,
        table_writes=units.writes,
        table_reads=units.reads,
        table_bytes=units.stored_bytes,
        stream_reads=math.ceil(elapsed_s * POLLS_PER_S),
        s3_gets=cold_start_gets(colds) + math.ceil(data_bytes(history.run, "train", "val", "test") / RANGE_BYTES),
    )


def cold_start_gets(environments: int) -> int:
    """Requests to S3 for the libraries of so many new environments of Train."""
    return environments * (math.ceil(LIBRARIES_BYTES / RANGE_BYTES) + 1)


def training_core_s(history: RunHistory) -> float:
    """Core-seconds of training, validation and test: what any machine would have to do."""
    busy_s = sum(
        span.end_s - span.start_s
        for batch in history.spans
        if batch.key.kind in TRAINING
        for span in batch.spans
        if span.name in COMPUTE_SPANS
    )
    return busy_s * history.run.settings.threads


def light_functions(workers: int, rounds: int, tasks: int, units: TableUnits, elapsed_s: float) -> list[FunctionUse]:
    """The functions that leave no record: they decide, watch and start. Estimated."""
    conduct_s = units.reconciles * RECONCILE_S + tasks * OFFER_S
    sweeps = math.ceil(elapsed_s / 60)
    return [
        FunctionUse("Conduct", CONDUCT_MEMORY_MB, conduct_s, units.reconciles, True, False),
        FunctionUse("Monitor", SMALL_MEMORY_MB, (rounds + 2) * MONITOR_S, rounds + 2, True, False),
        FunctionUse("StartRun", SMALL_MEMORY_MB, START_S, 1, True, False),
        FunctionUse("Sweep, while it runs", SMALL_MEMORY_MB, sweeps * SWEEP_S, sweeps, True, False),
    ]


def _attempts(run: Run, tasks: Iterable[Task]) -> list[FunctionUse]:
    """Ended attempts by kind of task: recorded, and in the run's own cost."""
    seconds: dict[TaskKind, float] = {}
    requests: dict[TaskKind, int] = {}
    for task in tasks:
        kind = task.key.kind
        seconds[kind] = seconds.get(kind, 0.0) + sum(record.ended_at - record.started_at for record in task.history)
        requests[kind] = requests.get(kind, 0) + len(task.history)
    kinds = [kind for kind in KIND_ORDER if requests.get(kind)]
    return [function_use(run.settings, kind, seconds[kind], requests[kind]) for kind in kinds]


def function_use(settings: RunSettings, kind: TaskKind, seconds: float, requests: float) -> FunctionUse:
    """Of the function that does this kind of task."""
    tmp_mb = TRAIN_TMP_MB if _is_train(kind) else FREE_TMP_MB
    return FunctionUse(_label(kind), memory_mb(kind, settings), seconds, requests, tmp_mb=tmp_mb)


def _in_flight(history: RunHistory, now: float) -> list[FunctionUse]:
    """Attempts that have not ended, so far. Not yet in the run's own cost."""
    settings = history.run.settings
    if history.run.ended:
        return []
    found = []
    for task in history.tasks:
        if task.claim is not None:
            seconds = min(max(0.0, now - task.claim.claimed_at), settings.time_limit_s)
            use = function_use(settings, task.key.kind, seconds, 1)
            found.append(use._replace(name=f"{task.key}, at work", in_budget=False))
    return found


def _cold_starts(history: RunHistory) -> list[FunctionUse]:
    """What environments took before their first claim: INIT, libraries. Lambda bills it; no attempt holds it."""
    began = {(task.key, record.attempt): record.started_at for task in history.tasks for record in task.history}
    seconds: dict[TaskKind, float] = {}
    for batch in history.spans:
        at = began.get((batch.key, batch.attempt))
        before = [span for span in batch.spans if at is not None and span.start_s < at and span.end_s <= at]
        if before:
            spent = sum(span.end_s - span.start_s for span in before)
            seconds[batch.key.kind] = seconds.get(batch.key.kind, 0.0) + spent
    uses = (function_use(history.run.settings, kind, value, 0) for kind, value in seconds.items())
    return [use._replace(name=f"{use.name}: cold starts", in_budget=False) for use in uses]


def _transferred(tasks: Iterable[Task]) -> Transfer:
    records = [record.transfer for task in tasks for record in task.history]
    return Transfer(
        read_bytes=sum(moved.read_bytes for moved in records),
        written_bytes=sum(moved.written_bytes for moved in records),
    )


def _live_bytes(run: Run) -> int:
    """On the shared files while it runs: the data, and some rounds of parameters, updates and states."""
    parameters, state = _bytes(run.parameters), _bytes([run.initial_state])
    a_round = run.settings.workers * (parameters + state) + parameters + _bytes(run.outer)
    rounds = min(KEPT_ROUNDS, max(0, run.round_index))
    return rounds * a_round + data_bytes(run, "train", "val", "test")


def _kept(run: Run, usage: Usage, prices: PriceList) -> Iterable[KeptLine]:
    """The model twice, the last and the best parameters, constants, the outer state; the data set; the records."""
    parameters, constants = _bytes(run.parameters), _bytes([run.constants])
    pinned = _bytes(run.best.parameters) if run.best else 0
    model = 3 * parameters + 3 * constants + pinned + _bytes(run.outer)
    standard = prices.usd("efs_standard_usd_per_gb_month") + prices.usd("efs_backup_usd_per_gb_month")
    table = prices.usd("dynamodb_storage_usd_per_gb_month") + prices.usd("dynamodb_recovery_usd_per_gb_month")
    for name, count, usd in (
        ("model and parameters on EFS, with its backup", model, standard),
        ("data set on EFS, for all runs, with its backup", data_bytes(run, "train", "val", "test"), standard),
        ("records in the table, with recovery", usage.table_bytes, table),
    ):
        yield KeptLine(name, count / BYTES_PER_GB, count / BYTES_PER_GB * usd)


def _bytes(refs: Iterable[FileRef | None]) -> int:
    return sum(ref.bytes for ref in refs if ref is not None)


def _is_train(kind: TaskKind) -> bool:
    return FUNCTIONS[kind] == "train"


def _label(kind: TaskKind) -> str:
    function = FUNCTIONS[kind].capitalize()
    return function if function.lower() == kind else f"{function}: {kind}"
