"""A slice of a voided generation that comes after its round: its files go again, as clearing up may be over."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from contracts.errors import Refused
from contracts.records import Claim, Report, Run, Task, TaskKey
from contracts.settings import RunSettings
from fakes.memory_files import MemoryFiles
from fakes.memory_store import MemoryStore
from runs.code_version import code_version
from runs.execute import Execution, submit
from runs.services import Services

SLICE = TaskKey(round_index=2, kind="combine", index=0, generation=1)
CLAIM = Claim(nonce="aa", request_id="r", attempt=1, claimed_at=1.0, expires_at=99.0)
RUN = Run(
    run_id="r-0001",
    settings=RunSettings(recipe="a", recipe_digest="b", dataset="c", workers=2, batch_size=4, epochs=1),
    code_version=code_version(),
    created_at=1.0,
    deadline_at=1e9,
    status="RUNNING",
    phase="TRAINING",
    round_index=2,
    generation=2,
    slice_bounds=(0, 1, 2),
)


class Still:
    def now(self) -> float:
        return 50.0


def execution(run: Run) -> Execution:
    """An execution that holds the claim of a slice of generation 1, while the run has come as far as `run`."""
    store = MemoryStore()
    store.runs[run.run_id] = run
    task = Task(key=SLICE, version=1, status="CLAIMED", attempt=1, claim=CLAIM)
    store.tasks[run.run_id, SLICE] = task
    services = Services(store, store, MemoryFiles(), None, Still(), None)  # type: ignore[arg-type]
    return Execution(services, None, run, task, "aa", "r", 1)  # type: ignore[arg-type]


def test_it_is_refused_once_the_round_is_over() -> None:
    late = execution(replace(RUN, round_index=3, generation=1))
    with pytest.raises(Refused, match="round 2 is over"):
        submit(late, late.done())
    assert late.services.store.load_task("r-0001", SLICE) == late.task


def test_it_is_paid_for_while_the_round_goes_on() -> None:
    early = execution(RUN)
    submit(early, Report(outcome="done", nonce="aa"))
    task = early.services.store.load_task("r-0001", SLICE)
    assert task is not None
    assert [record.outcome for record in task.history] == ["done"]
