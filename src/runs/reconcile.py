"""Brings a run from where it stands towards its end: load, decide, write conditionally, invoke.

Anybody may call it at any moment, twice, or at the same time as somebody else: every action is a conditional write
first, and only who has written invokes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from contracts.errors import ErrorRecord, InvocationFailed
from contracts.messages import FUNCTIONS, TaskMessage
from contracts.records import Run, Task
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
        follower = _carry_out(services, state, actions)
        if follower is state:
            # Offers alone change nothing that could be decided on at once.
            return state.run, next_wake_s(state, now) if not actions else now + state.run.settings.offer_s
        # A saved run opens its next stage, whose tasks are known; a lost condition means that somebody else moved on.
        state = follower or load_state(services, run_id)
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


def _carry_out(services: Services, state: RunState, actions: Sequence[Action]) -> RunState | None:
    """Each action's conditional write, then the invocations of those offers that were written.

    Returns:
        the state that follows: the same where nothing can be decided on at once; None where it must be read again.
    """
    run = state.run
    follower: RunState | None = state
    offers: list[tuple[Task, TaskMessage]] = []
    for action in actions:
        if isinstance(action, SaveRun):
            saved = services.store.save_run(action.run, action.record)
            follower = RunState(action.run, visible_tasks(action.run, state.tasks)) if saved else None
        elif action.message is None:
            services.store.save_task(run.run_id, action.task)
            follower = None
        else:
            offers.append((action.task, action.message))
    return follower if _offer(services, run, offers) else None


def _offer(services: Services, run: Run, offers: Sequence[tuple[Task, TaskMessage]]) -> bool:
    """Write all offers of a turn, then send the messages of those that were written. Returns whether all went well."""
    if not offers:
        return True
    saved = services.store.save_tasks(run.run_id, [task for task, _ in offers], stage=run.stage)
    sent = [message for (_, message), written in zip(offers, saved, strict=True) if written]
    errors = services.invoker.invoke_all([(FUNCTIONS[message.key.kind], message.to_event()) for message in sent])
    if any(_begins(run, message) for message in sent) and run.settings.concurrency > 1:
        # All but the one that will initialise: nobody asks for more environments than the run may have.
        services.invoker.warm_up(run.run_id, run.settings.concurrency - 1)
    # Refused for now (throttled): the offer stays and is sent again when it expires.
    refused = [(m, e) for m, e in zip(sent, errors, strict=True) if e is not None and not e.retryable]
    for message, error in refused:
        _note_end(services, load_state(services, run.run_id), EndedInvocation(message, "", error.record()))
    return all(saved) and not refused


def _begins(run: Run, message: TaskMessage) -> bool:
    """Whether the workers' functions have yet to start, and one task alone is sent: the run's first.

    Of a run with a backbone it is the one behind EXTRACTING, whose tasks all start together, right after the first.
    """
    first = "initialise" if run.settings.backbone_digest else "prepare"
    return message.key.kind == first and message.attempt == 1
