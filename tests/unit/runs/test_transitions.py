"""How one task changes: duplicates leave, late reports are refused, nothing is counted that never ran."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from contracts.errors import EnvironmentFailed, InvocationFailed, NotFinite, Refused, TornFile
from contracts.records import FileRef, Report, Task, TaskKey
from contracts.settings import RunSettings
from runs import transitions as t

KEY = TaskKey(round_index=3, kind="train", index=1)
SETTINGS = RunSettings(
    recipe="a", recipe_digest="b", dataset="c", workers=2, batch_size=4, epochs=1, time_limit_s=60.0, max_attempts=2
)
LOST = InvocationFailed("train", "crashed").record()
CHECKPOINT = FileRef(path="x", bytes=1, count=1, parts=("0",))


def offered(task: Task | None = None) -> Task:
    return t.offered(task, KEY, SETTINGS, now=100.0)


def claimed(task: Task | None = None, nonce: str = "aa", request_id: str = "r1") -> Task:
    return t.claimed(task or offered(), 0, nonce, request_id, SETTINGS, now=101.0)


def report(outcome: str = "done", nonce: str = "aa", **fields: object) -> Report:
    return Report(outcome=outcome, nonce=nonce, **fields)  # type: ignore[arg-type]


def test_a_task_goes_from_offer_to_claim_to_report() -> None:
    task = t.reported(claimed(), report(), SETTINGS, now=110.0)
    assert (task.status, task.attempt, task.failures, task.version) == ("DONE", 1, 0, 3)
    assert task.history[0].ended_at - task.history[0].started_at == 9.0
    assert task.cost_usd > 0


def test_of_two_deliveries_the_second_leaves() -> None:
    with pytest.raises(Refused, match="not on offer"):
        t.claimed(claimed(), 1, "bb", "r2", SETTINGS, now=102.0)


@pytest.mark.parametrize("task", [None, Task(key=KEY), Task(key=KEY, status="DONE"), Task(key=KEY, status="FAILED")])
def test_what_is_not_on_offer_cannot_be_claimed(task: Task | None) -> None:
    with pytest.raises(Refused):
        t.claimed(task, 0, "aa", "r1", SETTINGS, now=101.0)


def test_a_message_of_an_older_attempt_leaves() -> None:
    second = offered(t.claim_ended(claimed(), LOST, SETTINGS, 120.0))
    assert second.attempt == 2
    with pytest.raises(Refused, match="attempt 1"):
        t.claimed(second, 1, "bb", "r1", SETTINGS, now=121.0)


def test_a_late_report_is_refused_and_changes_nothing() -> None:
    again = claimed(offered(t.claim_ended(claimed(), LOST, SETTINGS, 120.0)), nonce="bb")
    for task in (again, t.reported(again, report(nonce="bb"), SETTINGS, 130.0), None):
        with pytest.raises(Refused, match="not from the current claim"):
            t.reported(task, report(nonce="aa"), SETTINGS, 131.0)


def test_an_offer_that_nobody_claimed_costs_no_attempt() -> None:
    task = t.offered_again(offered(), SETTINGS, now=125.0)
    assert (task.status, task.attempt, task.failures, task.offers) == ("OFFERED", 1, 0, 2)
    assert task.offer_expires_at == 145.0


def test_an_offer_that_is_never_claimed_fails_in_the_end() -> None:
    task = offered()
    for _ in range(t.MAX_UNCLAIMED_OFFERS):
        task = t.offered_again(task, SETTINGS, now=125.0)
    assert task.status == "FAILED" and task.error is not None and task.error.number == "E401"


def test_a_pause_costs_no_attempt_if_steps_advanced() -> None:
    paused = report("paused", steps_done=5, outputs={"checkpoint": CHECKPOINT})
    task = t.reported(claimed(), paused, SETTINGS, 110.0)
    assert (task.status, task.failures, task.resume) == ("WAITING", 0, paused)
    assert offered(task).resume == paused and offered(task).attempt == 2


def test_a_pause_without_a_step_is_a_failure() -> None:
    first = t.reported(claimed(), report("paused", steps_done=5), SETTINGS, 110.0)
    task = t.reported(claimed(offered(first)), report("paused", steps_done=5), SETTINGS, 120.0)
    assert (task.failures, task.status) == (1, "WAITING")
    assert task.error is not None and task.error.number == "E402"
    assert task.resume is not None, "what was done before is kept"


def test_a_failure_is_tried_again_until_attempts_are_exhausted() -> None:
    failed = report("failed", error=LOST)
    once = t.reported(claimed(), failed, SETTINGS, 110.0)
    assert (once.status, once.failures) == ("WAITING", 1)
    twice = t.reported(claimed(offered(once)), failed, SETTINGS, 120.0)
    assert twice.status == "FAILED" and twice.error is not None
    assert twice.error.number == "E405" and "E401" in twice.error.message


def test_what_cannot_be_cured_fails_at_once() -> None:
    error = NotFinite("round 3 worker 1", "loss is nan").record()
    task = t.reported(claimed(), report("failed", error=error), SETTINGS, 110.0)
    assert (task.status, task.error) == ("FAILED", error)


def test_a_torn_checkpoint_is_not_resumed_from_again() -> None:
    paused = t.reported(claimed(), report("paused", steps_done=5), SETTINGS, 110.0)
    torn = report("failed", error=TornFile("checkpoint", "is torn").record())
    assert t.reported(claimed(offered(paused)), torn, SETTINGS, 120.0).resume is None


def test_an_invocation_that_ended_ends_its_own_claim_only() -> None:
    assert t.claim_ended(claimed(request_id="r1"), LOST, SETTINGS, 120.0, request_id="r2") is None
    ended = t.claim_ended(claimed(request_id="r1"), LOST, SETTINGS, 120.0, request_id="r1")
    assert ended is not None and ended.status == "WAITING" and ended.failures == 1
    assert t.claim_ended(ended, LOST, SETTINGS, 121.0, request_id="r1") is None


def test_an_invocation_that_failed_before_its_claim_is_offered_again_at_once() -> None:
    task = t.offer_failed(offered(), 1, LOST)
    assert task is not None and (task.status, task.offer_expires_at, task.failures) == ("OFFERED", 0.0, 0)
    assert t.offer_failed(claimed(), 1, LOST) is None
    assert t.offer_failed(offered(), 7, LOST) is None


def test_a_function_that_cannot_start_is_not_offered_again() -> None:
    error = EnvironmentFailed("train", "ImportError").record()
    task = t.offer_failed(offered(), 1, error)
    assert task is not None and (task.status, task.error) == ("FAILED", error)


def test_a_backup_takes_the_claim_over() -> None:
    slow = claimed()
    both = t.offered_as_backup(slow, SETTINGS, now=150.0)
    assert t.reported(both, report(), SETTINGS, 151.0).status == "DONE", "the first may still win"
    taken = t.claimed(both, 2, "bb", "r2", SETTINGS, now=152.0)
    assert (taken.attempt, taken.claim.nonce if taken.claim else "") == (2, "bb")
    with pytest.raises(Refused):
        t.reported(taken, report(nonce="aa"), SETTINGS, 153.0)
    assert [record.outcome for record in taken.history] == ["superseded"]
    assert taken.history[0].ended_at - taken.history[0].started_at == SETTINGS.time_limit_s, "paid in full"


def test_nobody_pays_for_more_than_the_time_limit() -> None:
    task = t.claim_ended(claimed(), LOST, SETTINGS, now=9_999.0)
    assert task is not None
    assert task.history[0].ended_at - task.history[0].started_at == SETTINGS.time_limit_s


def test_a_voided_task_starts_from_the_beginning() -> None:
    resumed = replace(claimed(), resume=report("paused", steps_done=3))
    done = t.reported(resumed, report(), SETTINGS, 110.0)
    assert offered(done).resume is None and offered(done).report is None


def test_a_task_put_back_forgets_its_failures_but_not_its_pause_nor_its_cost() -> None:
    paused = t.reported(claimed(), report("paused", steps_done=5), SETTINGS, 110.0)
    task = t.put_back(replace(claimed(offered(paused)), failures=1), SETTINGS, 130.0)
    assert (task.status, task.failures, task.claim) == ("WAITING", 0, None)
    assert task.resume is not None and len(task.history) == 2
