"""What a round costs on DynamoDB, and that no item and no partition key comes near its limit at 256 workers.

The real reconcile, claims, reports and transitions; only training is arithmetic. Figures: `pytest -s`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from contracts.errors import LambdafitError
from contracts.messages import TaskMessage, parse_task
from contracts.records import Run
from contracts.settings import RunSettings
from fakes import arithmetic_trainer
from fakes.capacity_meter import CapacityMeter
from fakes.dynamodb_table import TABLE, dynamodb_table
from fakes.every_task import every_task
from fakes.memory_files import MemoryFiles
from runs.code_version import code_version
from runs.execute import execute
from runs.reconcile import reconcile
from runs.services import Services
from stores.dynamodb import DynamoStore

RUN_ID = "r-0123456789"
SLICES = int(os.environ.get("LAMBDAFIT_TEST_SLICES", "8"))
"""A run chooses at most 64 by itself. Each one reads all reports, which takes moto seconds."""

REPORTS_A_BATCH = 32
"""Reports that one batch of the stream brings to one reconcile, at 256 workers."""

ROUND_S = 5.0
"""A short round for so many workers: most train for longer, and meet the table less often."""

PARTITION_WRITES_PER_S = 1_000
PARTITION_READS_PER_S = 3_000


@dataclass
class Cloud:
    """The functions of a stack, one invocation after the other; clock, randomness, invoker and deadline."""

    store: DynamoStore
    workers: int
    now_s: float = 1_700_000_000.123456
    queue: list[TaskMessage] = field(default_factory=list)
    names: int = 0

    def __post_init__(self) -> None:
        self.services = Services(self.store, self.store, MemoryFiles(), self, self, self)
        trainer = arithmetic_trainer.ArithmeticTrainer()
        facts = {"train_examples": 16 * self.workers, "val_examples": 2 * self.workers}
        self._work = every_task(trainer, lambda run: facts)

    def now(self) -> float:
        self.now_s += 0.000123
        return self.now_s

    def nonce(self) -> str:
        self.names += 1
        return f"{self.names:016x}"

    def run_id(self) -> str:
        return RUN_ID

    def remaining_s(self) -> float:
        return 900.0

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        self.queue.append(parse_task(event))

    def invoke_all(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[LambdafitError | None]:
        for call in calls:
            self.invoke(*call)
        return [None] * len(calls)

    def warm_up(self, run_id: str, environments: int) -> None:
        pass

    def run(self, until_round: int) -> Run:
        """Deliver messages, a batch of the stream after the other, until the run has come to that round or its end."""
        while True:
            run, _ = reconcile(self.services, RUN_ID)
            if run.ended or run.round_index >= until_round:
                return run
            batch, self.queue = self.queue[:REPORTS_A_BATCH], self.queue[REPORTS_A_BATCH:]
            for message in batch:
                self.names += 1
                request_id = f"00000000-0000-0000-0000-{self.names:012d}"
                answer = execute(message, self.services, self, request_id, self._work)
                assert answer["outcome"] == "done", answer


class Costs(NamedTuple):
    """What one round of a settled run took."""

    writes: float
    reads: float
    control_writes: float
    control_reads: float
    busiest_telemetry_writes: float
    requests: int
    largest_bytes: dict[str, int]
    telemetry_requests: int


def measure(workers: int, slices: int) -> Costs:
    """One whole round, the second: the one before it has left its workers' states."""
    settings = RunSettings(
        recipe="recipes/0123456789abcdef0123456789abcdef.py",
        recipe_digest="0123456789abcdef0123456789abcdef",
        dataset="fashion-mnist",
        workers=workers,
        batch_size=8,
        rounds=2,
        steps_per_round=2,
        slices=slices,
        concurrency=workers,
        max_cost_usd=1e6,
    )
    with dynamodb_table() as client:
        meter = CapacityMeter(client)
        store = DynamoStore(TABLE, meter)
        cloud = Cloud(store, workers)
        store.create_run(
            Run(run_id=RUN_ID, settings=settings, code_version=code_version(), created_at=1.7e9, deadline_at=1.8e9)
        )
        cloud.run(until_round=2)
        meter.reset()
        run = cloud.run(until_round=3)
        assert (run.phase, run.stop_reason) == ("EVALUATING", "rounds")
        writes, reads, requests = dict(meter.writes), dict(meter.reads), sum(meter.requests.values())
        meter.reset()
        steps, cursor = store.read_steps(RUN_ID)
        assert len(steps) == 2 * workers and store.read_steps(RUN_ID, cursor) == ([], cursor)
        assert len(cursor) < 40 * workers + 2
        polled = sum(meter.requests.values()) // 2
        assert [record.round_index for record in store.load_rounds(RUN_ID)] == [1, 2]
        control = f"run#{RUN_ID}"
        return Costs(
            writes=sum(writes.values()),
            reads=sum(reads.values()),
            control_writes=writes[control],
            control_reads=reads[control],
            busiest_telemetry_writes=max(units for key, units in writes.items() if key.startswith(f"{control}#")),
            requests=requests,
            largest_bytes=dict(meter.largest_bytes),
            telemetry_requests=polled,
        )


@pytest.mark.parametrize(("workers", "slices"), [(4, 1), (256, SLICES)])
def test_a_round_is_cheap_and_far_from_every_limit(workers: int, slices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic_trainer, "PARAMETERS", 10 * slices)
    monkeypatch.setattr(arithmetic_trainer, "TRAINABLE", 10 * slices - 1)
    costs = measure(workers, slices)
    price_usd = (costs.writes * 0.625 + costs.reads * 0.125) / 1e6
    print(f"\n{workers} workers, {slices} slices, one round: ${price_usd:.6f}", *zip(costs._fields, costs, strict=True))
    assert max(costs.largest_bytes.values()) < 100_000
    # An offer writes its task twice over (it is a transaction), a claim too, beside the check of the stage; a report
    # writes it once, spans, steps and predictions are an item each: 2 + 4 + 1 + 1 + 1 + 1 for a task of 1 KB, and
    # reports grow to 3 KB.
    # The run, its stage items and the round are written in two transactions: not for each worker.
    own_writes = 2 * (2 * costs.largest_bytes["run"] + costs.largest_bytes["round"]) / 1024 + 80
    tasks = workers + slices
    assert costs.writes - own_writes < 15 * tasks
    assert costs.control_writes / ROUND_S < PARTITION_WRITES_PER_S
    assert costs.busiest_telemetry_writes / ROUND_S < PARTITION_WRITES_PER_S / 100
    assert costs.control_reads / ROUND_S < PARTITION_READS_PER_S
    assert costs.requests < 11 * tasks
    assert costs.telemetry_requests == workers, "one query a partition"
