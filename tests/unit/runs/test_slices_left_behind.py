"""A slice of a voided generation that is still at work when its round is over: what it costs stays in the run's sum."""

from __future__ import annotations

from msgspec.structs import replace

from contracts.records import Claim, Task, TaskKey
from fakes.memory_store import MemoryStore
from runs.decide import RunState, SaveRun, SaveTask, decide
from simulation.world import RUN_ID, fault_free, settings


def round_of_two_generations() -> RunState:
    """All slices of generation 2 are done, and one of generation 1 is still claimed."""
    store: MemoryStore = fault_free(settings(workers=1, slices=1, epochs=None, rounds=1)).store
    run, key = store.runs[RUN_ID], TaskKey(round_index=1, kind="combine", generation=1)
    (worker,) = [task for (_, k), task in store.tasks.items() if k.kind == "train"]
    (combined,) = [task for (_, k), task in store.tasks.items() if k.kind == "combine"]
    assert worker.report is not None
    done = replace(combined, key=replace(key, generation=2))
    claim = Claim(nonce="aa", request_id="r", attempt=1, claimed_at=run.created_at, expires_at=run.created_at + 99.0)
    left = Task(key=key, version=2, status="CLAIMED", attempt=1, claim=claim)
    run = replace(
        run, status="RUNNING", phase="COMBINING", round_index=1, generation=2, inputs={0: worker.report.nonce}, outer=()
    )
    return RunState(run, {task.key: task for task in (worker, done, left)})


def test_it_is_paid_for_to_its_time_limit_before_the_round_is_committed() -> None:
    state = round_of_two_generations()
    now = state.run.created_at + 1.0
    (action,) = decide(state, now)
    assert isinstance(action, SaveTask)
    assert action.message is None
    assert (action.task.status, action.task.claim) == ("WAITING", None)
    (record,) = action.task.history
    assert record.ended_at - record.started_at == state.run.settings.time_limit_s

    tasks = {**state.tasks, action.task.key: action.task}
    (commit,) = decide(RunState(state.run, tasks), now)
    assert isinstance(commit, SaveRun)
    assert commit.record is not None
    assert commit.run.spent_usd == state.run.spent_usd + sum(task.cost_usd for task in tasks.values())
