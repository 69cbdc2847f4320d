"""A resume with tighter limits: what was granted under the wider ones is taken back before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from contracts.errors import LambdafitError
from contracts.messages import TaskMessage
from contracts.records import Run, RunStatus, Task, TaskKey
from contracts.settings import RunSettings
from fakes.memory_store import MemoryStore
from runs import budget, control
from runs.code_version import code_version
from runs.cost import attempt_cost_usd
from runs.execute import execute
from runs.reconcile import reconcile
from runs.services import Services

RUN_ID = "r-0001"
NOW_S = 1_000.0
KEYS = [TaskKey(round_index=1, kind="train", index=index) for index in range(2)]
SETTINGS = RunSettings(
    recipe="a", recipe_digest="b", dataset="c", workers=2, batch_size=4, epochs=1, concurrency=2, max_cost_usd=10.0
)
LEAST_USD = 1e-6
"""Covers no attempt."""


class Outside:
    """Implements Clock, Randomness, Deadline and Invoker."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []

    def now(self) -> float:
        return NOW_S

    def nonce(self) -> str:
        return "0123456789abcdef"

    def run_id(self) -> str:
        return RUN_ID

    def remaining_s(self) -> float:
        return 900.0

    def invoke(self, _function: str, event: Mapping[str, Any]) -> None:
        self.sent.append(event)

    def invoke_all(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[LambdafitError | None]:
        self.sent += [event for _, event in calls]
        return [None for _ in calls]

    def warm_up(self, run_id: str, environments: int) -> None:
        pass


def round_with_grants(status: RunStatus, tasks: Sequence[Task]) -> tuple[Services, Outside]:
    """A round whose two attempts have been granted."""
    store, outside = MemoryStore(), Outside()
    store.runs[RUN_ID] = Run(
        run_id=RUN_ID,
        settings=SETTINGS,
        code_version=code_version(),
        created_at=900.0,
        deadline_at=NOW_S + SETTINGS.deadline_s,
        status=status,
        phase="TRAINING",
        round_index=1,
        granted=tuple(budget.token(key, 1) for key in KEYS),
    )
    store.tasks = {(RUN_ID, task.key): task for task in tasks}
    return Services(store, store, object(), outside, outside, outside), outside  # type: ignore[arg-type]


def on_offer(key: TaskKey) -> Task:
    return Task(key=key, version=1, status="OFFERED", attempt=1, offers=1, offer_expires_at=NOW_S + 20)


@pytest.mark.parametrize(
    "tighter", [{"max_cost_usd": LEAST_USD}, {"time_limit_s": 9e7}, {"memory_mb": 10_240}, {"deadline_s": 1.0}]
)
@pytest.mark.parametrize("engine_was_lost", [False, True])
def test_what_is_on_offer_while_the_run_goes_on_is_taken_back(tighter: dict[str, Any], engine_was_lost: bool) -> None:
    services, outside = round_with_grants("RUNNING", [on_offer(key) for key in KEYS])
    run = control.resume(services, RUN_ID, tighter, engine_was_lost=engine_was_lost)
    assert (run.status, run.granted, run.reason, run.error) == ("RUNNING", (), "", None)
    message = TaskMessage(run_id=RUN_ID, key=KEYS[0], attempt=1)
    assert execute(message, services, outside, "late", {"train": _never})["outcome"] == "left"


def _never(_execution: Any) -> Any:
    raise AssertionError("it started")


def test_nothing_starts_past_a_lower_budget() -> None:
    services, outside = round_with_grants("RUNNING", [on_offer(key) for key in KEYS])
    control.resume(services, RUN_ID, {"max_cost_usd": LEAST_USD}, engine_was_lost=False)
    run, _ = reconcile(services, RUN_ID)
    assert (run.status, run.reason, outside.sent) == ("FAILED", "budget", [])


def test_what_was_granted_before_a_stop_is_no_longer() -> None:
    services, outside = round_with_grants("CANCELLED", [])
    control.resume(services, RUN_ID, {"max_cost_usd": LEAST_USD}, engine_was_lost=False)
    run, _ = reconcile(services, RUN_ID)
    assert (run.status, run.reason, outside.sent) == ("FAILED", "budget", [])


def test_who_widens_the_limits_of_a_run_that_goes_on_disturbs_nobody() -> None:
    services, _ = round_with_grants("RUNNING", [on_offer(key) for key in KEYS])
    run = control.resume(services, RUN_ID, {"max_cost_usd": 20.0, "deadline_s": 90_000.0}, engine_was_lost=False)
    assert run.version == 2
    assert len(run.granted) == 2
    assert all(services.store.load_task(RUN_ID, key) == on_offer(key) for key in KEYS)


def test_a_claim_under_the_wider_limits_is_paid_for() -> None:
    services, outside = round_with_grants("RUNNING", [on_offer(key) for key in KEYS])

    def work(_execution: Any) -> Any:
        control.resume(services, RUN_ID, {"max_cost_usd": LEAST_USD}, engine_was_lost=False)
        raise OSError("whatever it does now is too late")

    message = TaskMessage(run_id=RUN_ID, key=KEYS[0], attempt=1)
    assert execute(message, services, outside, "first", {"train": work})["outcome"] == "left"
    task = services.store.load_task(RUN_ID, KEYS[0])
    assert task is not None
    assert (task.status, [record.outcome for record in task.history]) == ("WAITING", ["lost"])
    # It may be at work to its time limit, and nobody can tell.
    assert task.cost_usd >= attempt_cost_usd("train", SETTINGS.time_limit_s, SETTINGS)
