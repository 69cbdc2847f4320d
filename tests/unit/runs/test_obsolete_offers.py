"""A slice that a torn update made obsolete while it was on offer: nobody may claim it, so nobody is sent for it."""

from __future__ import annotations

from msgspec.structs import replace

from contracts.records import Run, Task, TaskKey
from contracts.settings import RunSettings
from runs import budget
from runs.decide import RunState, SaveRun, SaveTask, decide, next_wake_s

NOW_S = 1_000.0
SETTINGS = RunSettings(recipe="a", recipe_digest="b", dataset="c", workers=2, batch_size=4, epochs=1, concurrency=2)
OBSOLETE = Task(
    key=TaskKey(round_index=1, kind="combine", index=1, generation=1),
    version=1,
    status="OFFERED",
    attempt=1,
    offers=1,
    offer_expires_at=NOW_S - 1,
)


def train(index: int, **changes: object) -> Task:
    key = TaskKey(round_index=1, kind="train", index=index)
    return replace(Task(key=key, version=1, attempt=1), **changes)


def second_generation(*tasks: Task, max_cost_usd: float = 10.0) -> RunState:
    settings = replace(SETTINGS, max_cost_usd=max_cost_usd)
    run = Run(
        run_id="r-0001",
        settings=settings,
        code_version="1",
        created_at=900.0,
        deadline_at=5_000.0,
        status="RUNNING",
        phase="TRAINING",
        round_index=1,
        generation=2,
        slice_bounds=(0, 1, 2),
        granted=tuple(budget.token(task.key, task.attempt) for task in tasks),
    )
    return RunState(run, {task.key: task for task in (*tasks, OBSOLETE)})


def test_it_is_not_sent_again() -> None:
    under_way = [train(i, status="OFFERED", offers=1, offer_expires_at=NOW_S + 20) for i in range(2)]
    assert decide(second_generation(*under_way), NOW_S) == []
    late = replace(under_way[0], offer_expires_at=NOW_S)
    (again,) = decide(second_generation(late, under_way[1]), NOW_S)
    assert isinstance(again, SaveTask)
    assert again.task.key == late.key


def test_nobody_is_woken_for_it() -> None:
    under_way = [train(i, status="OFFERED", offers=1, offer_expires_at=NOW_S + 20) for i in range(2)]
    assert next_wake_s(second_generation(*under_way), NOW_S) == NOW_S + 20


def test_it_is_nothing_in_flight_that_a_spent_budget_could_wait_for() -> None:
    state = second_generation(train(0, status="WAITING"), train(1, status="WAITING"), max_cost_usd=1e-9)
    (action,) = decide(RunState(replace(state.run, granted=()), state.tasks), NOW_S)
    assert isinstance(action, SaveRun)
    assert (action.run.status, action.run.reason) == ("FAILED", "budget")
