"""A DynamoDB store on a scripted client, and made records to write with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from contracts.records import RoundRecord, Run, StepBatch, Task, TaskKey
from contracts.settings import RunSettings
from fakes.dynamodb_table import TABLE
from fakes.scripted_dynamodb import ScriptedClient
from stores.dynamodb import DynamoStore
from stores.dynamodb_table import Backoff

RUN_ID = "r-0001"
KEY = TaskKey(round_index=1, kind="train", index=0)
TASK = Task(key=KEY, version=1)


@dataclass
class Cloud:
    """A store on a scripted client, and how long it has waited."""

    client: ScriptedClient
    real: Any
    waited_s: list[float] = field(default_factory=list)
    now_s: float = 1_000_000.0
    clock_s: float = 0.0
    step_s: float = 0.0

    def __post_init__(self) -> None:
        backoff = Backoff(attempts=6, jitter=lambda: 0.5, sleep=self.waited_s.append, clock=self.clock)
        self.store = DynamoStore(TABLE, self.client, backoff=backoff, now=lambda: self.now_s, telemetry_days=2)

    def clock(self) -> float:
        self.clock_s += self.step_s
        return self.clock_s

    def another(self, **options: Any) -> DynamoStore:
        """Another process's store on the same table: it remembers nothing, and nothing fails."""
        return DynamoStore(TABLE, self.real, **options)


def make_run(workers: int = 2, **changes: Any) -> Run:
    settings = RunSettings(recipe="a", recipe_digest="b", dataset="c", workers=workers, batch_size=4, epochs=1)
    values = {"settings": settings, "code_version": "1", "created_at": 5.0, "deadline_at": 9.0, "status": "RUNNING"}
    return Run(run_id=RUN_ID, **(values | changes))


def make_round(index: int) -> RoundRecord:
    return RoundRecord(
        round_index=index,
        generation=1,
        committed_at=1.0,
        examples=8,
        epochs=0.5,
        metrics={},
        inputs={},
        parameters=(),
        cost_usd=0.0,
    )


def make_steps(first_step: int) -> StepBatch:
    return StepBatch(
        worker_index=1,
        round_index=1,
        attempt=1,
        first_step=first_step,
        ended_at=float(first_step),
        losses=(0.5,),
        examples=(4,),
        durations_ms=(1.25,),
    )
