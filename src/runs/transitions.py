"""How one task changes: pure functions from a task and a fact to the next version of the task.

    WAITING ──offer──▶ OFFERED ──claim──▶ CLAIMED ──report──▶ DONE | WAITING (paused, or to be tried again) | FAILED
                          ▲ re-offered, same attempt │
                          └──────────────────────────┘ claim ended without a report

Whoever calls one of these saves the result with `RunStore.save_task`, which refuses it if anybody else changed
the task in between. So each function may trust the task that it is given.
"""

from __future__ import annotations

from msgspec.structs import replace

from contracts.errors import AttemptsExhausted, ErrorRecord, InvocationFailed, Refused, TimedOut, TornFile
from contracts.records import AttemptRecord, Claim, Report, Task, TaskKey, Transfer
from contracts.settings import RunSettings
from runs.cost import attempt_cost_usd
from runs.transfer import NOTHING

MAX_UNCLAIMED_OFFERS = 10


def offered(task: Task | None, key: TaskKey, settings: RunSettings, now: float) -> Task:
    """A new attempt at a task that waits, was never offered, or whose report was voided."""
    task = task or Task(key=key)
    resume = task.resume if task.status == "WAITING" else None  # a voided report starts from the beginning
    return replace(
        task,
        version=task.version + 1,
        status="OFFERED",
        attempt=task.attempt + 1,
        offers=1,
        offer_expires_at=now + settings.offer_s,
        backup_attempt=0,
        claim=None,
        report=None,
        resume=resume,
    )


def offered_again(task: Task, settings: RunSettings, now: float) -> Task:
    """The same attempt once more: nobody claimed it in time. Fails for good after many."""
    if task.offers >= MAX_UNCLAIMED_OFFERS:
        error = InvocationFailed(str(task.key), f"nobody claimed it in {task.offers} invocations", "one claim").record()
        return replace(task, version=task.version + 1, status="FAILED", error=task.error or error)
    return replace(
        task,
        version=task.version + 1,
        offers=task.offers + 1,
        offer_expires_at=now + settings.offer_s * 2 ** min(task.offers - 1, 4),
    )


def offered_as_backup(task: Task, settings: RunSettings, now: float) -> Task:
    """A second attempt beside a claimed one that is far behind; whoever claims it takes the claim over."""
    return replace(
        task,
        version=task.version + 1,
        backup_attempt=task.attempt + 1,
        offers=task.offers + 1,
        offer_expires_at=now + settings.offer_s,
    )


def claimed(
    task: Task | None,
    attempt: int,
    nonce: str,
    request_id: str,
    settings: RunSettings,
    now: float,
    transfer: Transfer = NOTHING,
) -> Task:
    """The task in the hands of one execution.

    Args:
        attempt: the one that the message offered; 0 means whichever is on offer (a bare event).
        transfer: the most that the execution may read and write, which was held back for it.
    Raises:
        Refused: it is not on offer, or another attempt is: a duplicate, or a message that came late.
    """
    if task is None:
        raise Refused("never offered")
    on_offer = task.attempt if task.status == "OFFERED" else task.backup_attempt
    if task.status not in ("OFFERED", "CLAIMED") or not on_offer:
        raise Refused(f"{task.key} is {task.status}, not on offer")
    if attempt not in (0, on_offer):
        raise Refused(f"attempt {attempt} of {task.key} is over; {on_offer} is on offer")
    history = task.history
    if task.claim is not None:  # a backup takes over: the slower execution is paid for to its time limit
        history += (_bill(task, task.claim, "superseded", settings, task.claim.expires_at),)
    claim = Claim(
        nonce=nonce,
        request_id=request_id,
        attempt=on_offer,
        claimed_at=now,
        expires_at=now + settings.time_limit_s + settings.claim_margin_s,
        transfer=transfer,
    )
    return replace(
        task,
        version=task.version + 1,
        status="CLAIMED",
        attempt=on_offer,
        backup_attempt=0,
        claim=claim,
        history=history,
    )


def reported(task: Task | None, report: Report, settings: RunSettings, now: float) -> Task:
    """The task after its current execution has reported.

    A pause costs no attempt if steps advanced; otherwise it is a failure, or a task whose single step does not
    fit into the time limit would go round for ever.

    Raises:
        Refused: the report is not from the current claim.
    """
    if task is None or task.status != "CLAIMED" or task.claim is None or task.claim.nonce != report.nonce:
        raise Refused("the report is not from the current claim")
    billed = replace(
        task,
        version=task.version + 1,
        claim=None,
        backup_attempt=0,
        history=(*task.history, _bill(task, task.claim, report.outcome, settings, now, report.transfer)),
    )
    if report.outcome == "done":
        return replace(billed, status="DONE", report=report, resume=None, error=None)
    if report.outcome == "paused":
        before = task.resume.steps_done if task.resume else 0
        if report.steps_done > before:
            return replace(billed, status="WAITING", resume=report, error=None)
        error = TimedOut(str(task.key), f"no step was done in {settings.time_limit_s:g} s", "at least one").record()
        return _failed(billed, error, settings)
    failed = _failed(billed, report.error or InvocationFailed(str(task.key), "it failed").record(), settings)
    return replace(failed, report=report) if report.voids else failed


def claim_ended(
    task: Task | None, error: ErrorRecord, settings: RunSettings, now: float, *, request_id: str | None = None
) -> Task | None:
    """The task after its execution died without a report, or None if that is old news.

    Args:
        request_id: the invocation that ended; None for a claim that outlived its function's time limit.
    """
    if task is None or task.status != "CLAIMED" or task.claim is None:
        return None
    if request_id is not None and task.claim.request_id != request_id:
        return None
    history = (*task.history, _bill(task, task.claim, "lost", settings, now))
    billed = replace(task, version=task.version + 1, claim=None, backup_attempt=0, history=history)
    return _failed(billed, error, settings)


def given_up(task: Task, settings: RunSettings) -> Task:
    """A claimed task that nobody waits for any more: paid for to its time limit, and its report will be refused."""
    lost = () if task.claim is None else (_bill(task, task.claim, "superseded", settings, task.claim.expires_at),)
    return replace(task, version=task.version + 1, status="WAITING", claim=None, history=(*task.history, *lost))


def offer_failed(task: Task | None, attempt: int, error: ErrorRecord) -> Task | None:
    """The task after an invocation failed before anybody claimed it: to be offered again at once, if that can help.

    None if it is claimed by now, or another attempt is on offer.
    """
    if task is None or task.status != "OFFERED" or task.attempt != attempt:
        return None
    if not error.retryable:
        return replace(task, version=task.version + 1, status="FAILED", error=error)
    return replace(task, version=task.version + 1, offer_expires_at=0.0, error=error)


def put_back(task: Task, settings: RunSettings, ended_at: float) -> Task:
    """An unfinished task as a resumed run wants it: waiting, its failures forgotten, its last claim paid.

    Args:
        ended_at: until when its execution may have worked.
    """
    lost = () if task.claim is None else (_bill(task, task.claim, "lost", settings, ended_at),)
    return replace(
        task,
        version=task.version + 1,
        status="WAITING",
        failures=0,
        offers=0,
        backup_attempt=0,
        claim=None,
        error=None,
        report=None,
        history=(*task.history, *lost),
    )


def _failed(task: Task, error: ErrorRecord, settings: RunSettings) -> Task:
    failures = task.failures + 1
    if error.number == TornFile.number:
        task = replace(task, resume=None)  # perhaps its own checkpoint: the round begins again, to the same bits
    if not error.retryable:
        return replace(task, status="FAILED", failures=failures, error=error)
    if failures >= settings.max_attempts:
        exhausted = AttemptsExhausted(
            str(task.key), f"{failures} attempts failed, the last one with: {error}", "one that succeeds"
        ).record()
        return replace(task, status="FAILED", failures=failures, error=exhausted)
    return replace(task, status="WAITING", failures=failures, error=error)


def _bill(
    task: Task, claim: Claim, outcome: str, settings: RunSettings, ended_at: float, measured: Transfer | None = None
) -> AttemptRecord:
    """What an attempt cost. What nobody measured counts as the most that it may have moved."""
    transfer = measured or claim.transfer
    ended_at = min(max(ended_at, claim.claimed_at), claim.claimed_at + settings.time_limit_s)
    return AttemptRecord(
        attempt=claim.attempt,
        nonce=claim.nonce,
        outcome=outcome,
        started_at=claim.claimed_at,
        ended_at=ended_at,
        cost_usd=attempt_cost_usd(task.key.kind, ended_at - claim.claimed_at, settings, transfer),
        request_id=claim.request_id,
        transfer=transfer,
    )
