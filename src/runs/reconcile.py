"""Brings a run from where it stands towards its end: load, decide, write conditionally, invoke.

Anybody may call it at any moment, twice, or at the same time as somebody else: every action is a conditional write
first, and only who has written invokes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from contracts.errors import ErrorRecord, InvocationFailed, LambdafitError
from contracts.messages import FUNCTIONS, TaskMessage
from contracts.records import Run
from runs import transitions
from runs.decide import Action, RunState, SaveRun, decide, next_wake_s
from runs.services import Services
from runs.stages import visible_tasks

MAX_TURNS = 1_000


def load_state(services: Services, run_id: str) -> RunState:
    """The run, the tasks of its current round, and its clearing-up under way."""
    run = services.store.load_run(run_id)
    tasks = services.store.load_tasks(run_id, run.round_index)
    if run.clearing is not None and run.clearing.round_index != run.round_index:
        clear = services.store.load_task(run_id, run.clearing)
        if clear is not None:
            tasks[run.clearing] = clear
    return RunState(run, tasks)


class EndedInvocation(NamedTuple):
    """An invocation that is over. `error` says why it failed; None where it returned."""

    message: TaskMessage
    request_id: str
    error: ErrorRecord | None


def reconcile(services: Services, run_id: str, ended: Sequence[EndedInvocation] = ()) -> tuple[Run, float]:
    """Do all that can be done now.

    Args:
        ended: invocations known to be over: claims that they still hold end at once, not at their expiry.
    Returns:
        the run as it then stands, and when to look again if nothing is heard, in seconds since 1970.
    """
    state = load_state(services, run_id)
    noted = [_note_end(services, state, invocation) for invocation in ended]  # each of them, not up to the first
    if any(noted):
        state = load_state(services, run_id)
    for _ in range(MAX_TURNS):
        now = services.clock.now()
        actions = decide(state, now)
        followers = [_carry_out(services, state, action) for action in actions]
        if all(follower is state for follower in followers):
            # Offers alone change nothing that could be decided on at once.
            return state.run, next_wake_s(state, now) if not actions else now + state.run.settings.offer_s
        # A saved run opens its next stage, whose tasks are known; a lost condition means that somebody else moved on.
        state = followers[0] if len(followers) == 1 and followers[0] else load_state(services, run_id)
    raise LambdafitStuck(run_id)


class LambdafitStuck(RuntimeError):
    """`decide` went in circles: a bug, stopped before it costs anything."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id}: {MAX_TURNS} turns without coming to rest")


def _note_end(services: Services, state: RunState, ended: EndedInvocation) -> bool:
    """End the claim or offer that an invocation still holds. Returns whether the state must be read again."""
    message, settings = ended.message, state.run.settings
    task = state.tasks.get(message.key)
    where = f"run {state.run.run_id} {message.key}"
    lost = ended.error or InvocationFailed(where, "the function returned without a report", "one").record()
    now = services.clock.now()
    changed = transitions.claim_ended(task, lost, settings, now, request_id=ended.request_id)
    if changed is None and ended.error is not None:
        changed = transitions.offer_failed(task, message.attempt, ended.error)
    if changed is None:
        return False
    if not services.store.save_task(state.run.run_id, changed):
        # Somebody changed the task meanwhile: look again at what it is now.
        _note_end(services, load_state(services, state.run.run_id), ended)
    return True


def _carry_out(services: Services, state: RunState, action: Action) -> RunState | None:
    """One conditional write, then its invocation.

    Returns:
        the state that follows: the same where nothing can be decided on at once; None where it must be read again.
    """
    run = state.run
    if isinstance(action, SaveRun):
        if not services.store.save_run(action.run, action.record):
            return None
        return RunState(action.run, visible_tasks(action.run, state.tasks))
    if action.message is None:
        services.store.save_task(run.run_id, action.task)
        return None
    if not services.store.save_task(run.run_id, action.task, stage=run.stage):
        return None
    try:
        services.invoker.invoke(FUNCTIONS[action.task.key.kind], action.message.to_event())
    except LambdafitError as error:
        # Refused at once (throttled): the offer stays and is sent again when it expires.
        if not error.retryable:
            _note_end(services, load_state(services, run.run_id), EndedInvocation(action.message, "", error.record()))
            return None
    return state
