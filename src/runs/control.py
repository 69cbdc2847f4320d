"""Stop a run and let it go on: one conditional write each, so neither can be half done."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from contracts.errors import CodeChanged, NotResumable, RunCancelled
from contracts.records import Run
from contracts.settings import RunSettings, make_settings
from runs import transitions
from runs.code_version import code_version
from runs.decide import ended
from runs.reconcile import load_state
from runs.services import Services

LIMITS = ("max_cost_usd", "deadline_s", "max_attempts", "target_accuracy", "patience", "time_limit_s", "memory_mb")
"""The settings that a resume may change: they end a run earlier or later but never change its parameters."""


def cancel(services: Services, run_id: str, why: str = "stopped by a user") -> Run:
    """End the run. What is in flight can no longer claim or report; the last checkpoint stays.

    Returns:
        the run as it then stands: an ended one is left as it was.
    """
    while True:
        run = services.store.load_run(run_id)
        if run.ended:
            return run
        now = services.clock.now()
        cancelled = ended(run, "CANCELLED", "cancelled", now, RunCancelled(f"run {run_id}", why).record())
        if services.store.save_run(cancelled):
            return cancelled


def resume(services: Services, run_id: str, changes: Mapping[str, Any], *, engine_was_lost: bool) -> Run:
    """Let a run go on from its checkpoint, with other limits if given.

    One that goes on already is ended for a moment if its limits become tighter, so that nothing starts under the old.

    Args:
        changes: new values of `LIMITS`.
        engine_was_lost: whether nothing of an earlier engine can still be at work, so that open claims end at
            once. (A zombie that is at work all the same cannot harm: its nonce is no longer the task's.)
    Raises:
        NotResumable: the run is finished.
        CodeChanged: the code is not the one that the run began with.
    """
    while True:
        run = services.store.load_run(run_id)
        if run.status == "FINISHED":
            raise NotResumable(f"run {run_id}", f"it is finished ({run.reason})", "one that can go on")
        if run.code_version != code_version():
            raise CodeChanged(f"run {run_id}", f"the code is {code_version()}", run.code_version)
        now = services.clock.now()
        settings = _changed(run.settings, changes)
        going_on = replace(
            run,
            version=run.version + 1,
            settings=settings,
            status="PENDING" if run.status == "PENDING" else "RUNNING",
            reason="",
            error=None,
            ended_at=0.0,
            deadline_at=now + settings.deadline_s,
            granted=() if run.ended else run.granted,
            evaluations_without_gain=0 if "patience" in changes else run.evaluations_without_gain,
        )
        if run.status == "RUNNING" and _is_tighter(going_on, run):
            # What was granted under the old limits may be offered, or claimed, at any moment: not of an ended run.
            why = RunCancelled(f"run {run_id}", "stopped for a moment by a resume with tighter limits")
            services.store.save_run(ended(run, "CANCELLED", "cancelled", now, why.record()))
            continue
        # Tasks first: while the run is ended, nobody offers or claims. Between two calls of a crashed resume
        # everything is still as an ended run leaves it.
        if (run.ended or engine_was_lost) and not _put_back_tasks(services, run, now if engine_was_lost else math.inf):
            continue  # a claim that stays open would be held back for by nobody
        if services.store.save_run(going_on):
            return going_on


def _is_tighter(run: Run, before: Run) -> bool:
    """Whether what was granted before may cost or last more than the limits allow now."""
    new, old = run.settings, before.settings
    dearer = (new.time_limit_s, new.memory_mb) != (old.time_limit_s, old.memory_mb)
    return dearer or new.max_cost_usd < old.max_cost_usd or run.deadline_at < before.deadline_at


def _put_back_tasks(services: Services, run: Run, ended_at: float) -> bool:
    """Put back what is unfinished. Returns whether none of it was changed by others meanwhile.

    Args:
        ended_at: until when executions may have worked: one that is still at work is paid for to its time limit.
    """
    saved = True
    for task in load_state(services, run.run_id).tasks.values():
        if task.status in ("OFFERED", "CLAIMED", "FAILED") or (task.status == "WAITING" and task.failures):
            saved &= services.store.save_task(run.run_id, transitions.put_back(task, run.settings, ended_at))
    return saved


def _changed(settings: RunSettings, changes: Mapping[str, Any]) -> RunSettings:
    """The settings with other limits, checked like new ones."""
    asked = {name: value for name, value in changes.items() if value is not None}
    unknown = set(asked) - set(LIMITS)
    if unknown:
        raise NotResumable("resume", f"cannot change {', '.join(sorted(unknown))}", f"only {', '.join(LIMITS)}")
    values = {name: getattr(settings, name) for name in settings.__struct_fields__}
    return make_settings(values | asked)
