"""The one place where a run's next move is decided: a pure function of what the store holds and the time.

Workers state facts (claims and reports); `decide` turns them into actions, each a conditional write that may be
followed by an invocation. It may be called at any moment, by anybody, any number of times: a lost or doubled event
changes nothing but the time. (Level-triggered, as Kubernetes controllers are.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median

import msgspec
from msgspec.structs import replace

from contracts.errors import (
    AttemptsExhausted,
    BudgetReached,
    DeadlinePassed,
    ErrorRecord,
    TimedOut,
)
from contracts.messages import TaskMessage
from contracts.records import RoundRecord, Run, RunStatus, Task, TaskKey
from runs import budget, transitions
from runs.stages import advance, is_done, is_settled, required_tasks, torn_inputs, train_again, visible_tasks

BACKUP_SHARE_DONE = 0.75
BACKUP_FACTOR = 3.0
BACKUP_MIN_S = 15.0


class RunState(msgspec.Struct, frozen=True):
    """A run and the tasks of its current round, read consistently."""

    run: Run
    tasks: Mapping[TaskKey, Task]


class SaveRun(msgspec.Struct, frozen=True):
    """Save the run, and a committed round with it, if nobody else was faster."""

    run: Run
    record: RoundRecord | None = None


class SaveTask(msgspec.Struct, frozen=True):
    """Save the task if neither it nor the run's stage has changed; then send the message, if there is one."""

    task: Task
    message: TaskMessage | None = None


Action = SaveRun | SaveTask


def decide(state: RunState, now: float) -> list[Action]:
    """What to do next; nothing if the run has ended or everything in flight is in time.

    Args:
        now: seconds since 1970.
    """
    run, tasks = state.run, state.tasks
    if run.ended:
        return []
    if run.status == "PENDING":
        started = _next_version(replace(run, status="RUNNING", started_at=now))
        return [SaveRun(_granted(started, tasks))]
    if now >= run.deadline_at:
        late = DeadlinePassed(f"run {run.run_id}", f"{run.settings.deadline_s:g} s have passed since it was started")
        return [SaveRun(ended(run, "FAILED", "deadline", now, late.record()))]
    if expired := list(_expired_claims(state, now)):
        return expired
    if broken := _first_failure(state):
        return [SaveRun(ended(run, "FAILED", broken.name, now, broken))]
    if voided := torn_inputs(run, tasks):
        if run.generation > run.settings.max_attempts:
            error = AttemptsExhausted(
                f"run {run.run_id} round {run.round_index}",
                f"updates of workers {sorted(voided)} were found torn in {run.generation} generations",
                "files that stay as they were written",
            )
            return [SaveRun(ended(run, "FAILED", "AttemptsExhausted", now, error.record()))]
        return [SaveRun(_granted(_next_version(train_again(run, voided)), tasks))]
    if _all_done(state):
        if left_behind := list(_left_behind(state)):
            return left_behind
        moved, record = advance(run, tasks, now)
        if moved.ended:
            return [SaveRun(_next_version(moved), record)]
        return [SaveRun(_granted(_next_version(moved), visible_tasks(moved, tasks)), record)]
    return _dispatch(state, now)


def ended(run: Run, status: RunStatus, reason: str, now: float, error: ErrorRecord | None = None) -> Run:
    """The run's next version, ended. Everything that a resume needs stays in it."""
    return _next_version(replace(run, status=status, reason=reason, error=error, ended_at=now))


def next_wake_s(state: RunState, now: float) -> float:
    """When `decide` could have something to do without any news, in seconds since 1970."""
    times = [state.run.deadline_at]
    for task in state.tasks.values():
        if _on_offer(state.run, task) or task.backup_attempt:
            times.append(task.offer_expires_at)
        if task.status == "CLAIMED" and task.claim:
            times.append(task.claim.expires_at)
    limit_s = _backup_limit_s(state)
    if limit_s is not None:
        claims = (t.claim for t in state.tasks.values() if t.claim and not t.backup_attempt)
        times += [claim.claimed_at + limit_s for claim in claims if claim.claimed_at + limit_s > now]
    return min(times)


def _next_version(run: Run) -> Run:
    return replace(run, version=run.version + 1)


def _wanted(run: Run, tasks: Mapping[TaskKey, Task]) -> list[TaskKey]:
    """The tasks of this stage that nobody is working on, as many as may be in flight beside the others."""
    keys = [key for key in required_tasks(run) if not is_done(run, tasks.get(key))]
    in_flight = sum(key in tasks and tasks[key].status in ("OFFERED", "CLAIMED") for key in keys)
    # One attempt at work and, where the engine queues, one at the door: no decision between the two.
    free = max(0, run.settings.in_flight_per_place * run.settings.concurrency - in_flight)
    waiting = [key for key in keys if key not in tasks or tasks[key].status in ("WAITING", "DONE")]
    clear = run.clearing
    due = [clear] if clear and (clear not in tasks or tasks[clear].status == "WAITING") else []
    return waiting[:free] + due


def _granted(run: Run, tasks: Mapping[TaskKey, Task]) -> Run:
    """The run with the budget reserved for the attempts that its stage will want at once."""
    wanted = ((key, tasks[key].attempt + 1 if key in tasks else 1) for key in _wanted(run, tasks))
    return budget.with_grants(run, tasks, wanted)[0]


def _dispatch(state: RunState, now: float) -> list[Action]:
    run, tasks = state.run, state.tasks
    actions: list[Action] = []
    unpaid: list[tuple[TaskKey, int]] = []
    for key in _wanted(run, tasks):
        task = transitions.offered(tasks.get(key), key, run.settings, now)
        if budget.token(key, task.attempt) in run.granted:
            actions.append(_offer(run, task))
        else:
            unpaid.append((key, task.attempt))
    for task in tasks.values():
        if _on_offer(run, task) and now >= task.offer_expires_at:
            again = transitions.offered_again(task, run.settings, now)
            actions.append(_offer(run, again) if again.status == "OFFERED" else SaveTask(again))
    backups = list(_stragglers(state, now))
    for task in backups:
        if budget.token(task.key, task.attempt + 1) in run.granted:
            backup = transitions.offered_as_backup(task, run.settings, now)
            message = TaskMessage(run_id=run.run_id, key=task.key, attempt=backup.backup_attempt)
            actions.append(SaveTask(backup, message))
        else:
            unpaid.append((task.key, task.attempt + 1))
    if actions or not unpaid:
        return actions
    paid, more = budget.with_grants(run, tasks, unpaid)
    if more:
        return [SaveRun(_next_version(paid))]
    if any(task.status == "CLAIMED" or _on_offer(run, task) for task in tasks.values()):
        return []  # what is in flight will cost less than was held back for it
    error = BudgetReached(
        f"run {run.run_id}",
        f"${budget.spent_usd(run, tasks):.4f} are spent of ${run.settings.max_cost_usd:g}, too little is left "
        f"for one more attempt of up to {run.settings.time_limit_s:g} s",
    )
    return [SaveRun(ended(run, "FAILED", "budget", now, error.record()))]


def _on_offer(run: Run, task: Task) -> bool:
    """Whether somebody may claim the task: a slice of an older generation stays as it is, unclaimed for good."""
    return task.status == "OFFERED" and (task.key == run.clearing or task.key in required_tasks(run))


def _offer(run: Run, task: Task) -> SaveTask:
    return SaveTask(task, TaskMessage(run_id=run.run_id, key=task.key, attempt=task.attempt))


def _expired_claims(state: RunState, now: float) -> Iterator[Action]:
    for task in state.tasks.values():
        if task.status == "CLAIMED" and task.claim and now >= task.claim.expires_at:
            limit_s = state.run.settings.time_limit_s
            error = TimedOut(f"run {state.run.run_id} {task.key}", f"no report within {limit_s:g} s", "one")
            changed = transitions.claim_ended(task, error.record(), state.run.settings, now)
            if changed:
                yield SaveTask(changed)


def _left_behind(state: RunState) -> Iterator[Action]:
    """Slices of an older generation still at work when the round is over: after it nobody would count their cost."""
    for task in state.tasks.values():
        if task.key.kind == "combine" and task.key.generation < state.run.generation and task.status == "CLAIMED":
            yield SaveTask(transitions.given_up(task, state.run.settings))


def _first_failure(state: RunState) -> ErrorRecord | None:
    """Why the stage cannot go on; a failed clearing-up is no reason, nor a combine of an older generation."""
    for key in required_tasks(state.run):
        task = state.tasks.get(key)
        if task is None or task.status != "FAILED" or is_done(state.run, task):
            continue
        if not (task.report and task.report.voids):
            return task.error
    return None


def _all_done(state: RunState) -> bool:
    """Whether the stage is complete. Only the last one waits for a clearing-up, so that nothing is left in flight."""
    run, tasks = state.run, state.tasks
    if run.phase == "CLEARING" and not is_settled(run, tasks, run.clearing):
        return False
    return all(is_done(run, tasks.get(key)) for key in required_tasks(run))


def _backup_limit_s(state: RunState) -> float | None:
    """How long a worker of this round may take before a backup is offered; None while too few are done."""
    if state.run.phase != "TRAINING":
        return None
    done = [t for t in state.tasks.values() if t.key.kind == "train" and t.status == "DONE" and t.history]
    if len(done) < BACKUP_SHARE_DONE * state.run.settings.workers:
        return None
    typical_s = median(sum(r.ended_at - r.started_at for r in task.history) for task in done)
    return max(BACKUP_FACTOR * typical_s, typical_s + BACKUP_MIN_S)


def _stragglers(state: RunState, now: float) -> Iterator[Task]:
    """Claimed tasks far over the median, one backup each: not those that are themselves a second attempt."""
    limit_s = _backup_limit_s(state)
    if limit_s is None:
        return
    for task in state.tasks.values():
        claim = task.claim
        first = task.key.kind == "train" and task.status == "CLAIMED" and not task.backup_attempt
        superseded = any(record.outcome == "superseded" for record in task.history)
        if first and not superseded and claim and now - claim.claimed_at > limit_s:
            yield task
