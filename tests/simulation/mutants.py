"""Deliberate faults in the protocol, each a substitute for a real part. The simulator must find every one of them.

A fault that is not found would mean that an invariant is too weak, or that no schedule comes where it shows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace
from safetensors.numpy import load as load_safetensors

from contracts.messages import FUNCTIONS
from contracts.records import TaskKey
from fakes import every_task
from runs import budget, combine, decide, execute, paths, reconcile, stages, train, transitions
from simulation.simulated_store import SimulatedStore
from training import vector_files
from training.combine import Update
from training.vector_files import NewestVector

Patch = tuple[Any, str, Any]
MUTANTS: dict[str, Callable[[], Sequence[Patch]]] = {}


def mutant(name: str) -> Callable[[Callable[[], Sequence[Patch]]], Callable[[], Sequence[Patch]]]:
    """Registers what is to be put in place of what."""

    def register(make: Callable[[], Sequence[Patch]]) -> Callable[[], Sequence[Patch]]:
        MUTANTS[name] = make
        return make

    return register


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """The protocol with this fault in it."""
    with ExitStack() as patches:
        for target, attribute, substitute in MUTANTS[name]():
            patches.enter_context(patch.object(target, attribute, substitute))
        yield


# --- which reports a round combines ---


@mutant("reports are counted, whichever they are")
def _() -> Sequence[Patch]:
    def updates(execution: Any, *, consistent: bool) -> list[Update]:
        run = execution.run
        tasks = execution.services.store.load_tasks(run.run_id, run.round_index, consistent=consistent)
        reports = [(task.key.index, task.report) for task in tasks.values() if task.key.kind == "train" and task.report]
        return [Update(i, report.outputs["update"], report.examples, report.nonce) for i, report in reports]

    return [(combine, "_updates", updates)]


@mutant("a voided report still counts")
def _() -> Sequence[Patch]:
    def is_done(run: Any, task: Any) -> bool:
        return real(replace(run, voided={}), task)

    real = stages.is_done
    return [(stages, "is_done", is_done), (decide, "is_done", is_done)]


@mutant("updates are summed as they arrive")
def _() -> Sequence[Patch]:
    def updates(execution: Any, *, consistent: bool) -> list[Update]:
        tasks = execution.services.store.load_tasks(execution.run.run_id, execution.run.round_index)
        ended = {task.key.index: task.history[-1].ended_at for task in tasks.values() if task.history}
        return sorted(real(execution, consistent=consistent), key=lambda update: ended[update.worker_index])

    real = combine._updates
    return [(combine, "_updates", updates)]


@mutant("no generation in a combine task's name")
def _() -> Sequence[Patch]:
    def required_tasks(run: Any) -> list[TaskKey]:
        return [replace(key, generation=min(key.generation, 1)) for key in real(run)]

    real = stages.required_tasks
    return [(module, "required_tasks", required_tasks) for module in (stages, decide, execute)]


@mutant("examples are added up as reports come in")
def _() -> Sequence[Patch]:
    def combined(run: Any, tasks: Any, slices: Any, now: float) -> Any:
        done, record = real(run, tasks, slices, now)
        trained = [task for task in tasks.values() if task.key.kind == "train"]
        extra = sum(task.report.examples * (_done_times(task) - 1) for task in trained)
        return replace(done, examples_seen=done.examples_seen + extra), record

    real = stages._combined
    return [(stages, "_combined", combined)]


def _done_times(task: Any) -> int:
    return sum(record.outcome == "done" for record in task.history)


# --- who has a claim ---


@mutant("a claim is ignored by the next one")
def _() -> Sequence[Patch]:
    def claimed(task: Any, *rest: Any) -> Any:
        if task is not None and task.status == "CLAIMED" and not task.backup_attempt:
            task = replace(task, backup_attempt=task.attempt)
        return real(task, *rest)

    real = transitions.claimed
    return [(transitions, "claimed", claimed)]


@mutant("a report's nonce is not looked at")
def _() -> Sequence[Patch]:
    return [(transitions, "reported", _reported_by_anybody(("done", "paused", "failed")))]


@mutant("a late `paused` is accepted")
def _() -> Sequence[Patch]:
    return [(transitions, "reported", _reported_by_anybody(("paused",)))]


def _reported_by_anybody(outcomes: Sequence[str]) -> Any:
    def reported(task: Any, report: Any, settings: Any, now: float) -> Any:
        if report.outcome in outcomes and task is not None and task.claim is not None:
            task = replace(task, claim=replace(task.claim, nonce=report.nonce))
        return real(task, report, settings, now)

    real = transitions.reported
    return reported


@mutant("a lease is not looked at")
def _() -> Sequence[Patch]:
    real = decide._expired_claims
    return [(decide, "_expired_claims", lambda state, now: real(state, max(now, 1e12)))]


@mutant("the end of any invocation ends a claim")
def _() -> Sequence[Patch]:
    real = transitions.claim_ended
    return [(transitions, "claim_ended", lambda *args, request_id=None: real(*args))]


@mutant("a claim is not tied to the run's stage")
def _() -> Sequence[Patch]:
    return [(SimulatedStore, "_is_at", lambda *_: True)]


@mutant("a claim does not look at the deadline")
def _() -> Sequence[Patch]:
    def claim(message: Any, services: Any, deadline: Any, request_id: str) -> Any:
        late = dataclasses.replace(services, store=_WithoutDeadline(services.store))
        execution = real(message, late, deadline, request_id)
        execution.services = services
        return execution

    real = execute._claim
    return [(execute, "_claim", claim)]


class _WithoutDeadline:
    def __init__(self, store: Any) -> None:
        self._store = store

    def load_run(self, run_id: str) -> Any:
        return replace(self._store.load_run(run_id), deadline_at=1e12)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@mutant("versions are not compared: the last writer wins")
def _() -> Sequence[Patch]:
    return [(SimulatedStore, "_follows", lambda *_: True)]


@mutant("an invocation is sent before its offer is written")
def _() -> Sequence[Patch]:
    def offer(services: Any, run: Any, offers: Any) -> bool:
        services.invoker.invoke_all([(FUNCTIONS[message.key.kind], message.to_event()) for _, message in offers])
        return all(services.store.save_tasks(run.run_id, [task for task, _ in offers], stage=run.stage))

    return [(reconcile, "_offer", offer)]


@mutant("an offer that nobody took burns an attempt")
def _() -> Sequence[Patch]:
    real = transitions.offered_again

    def offered_again(task: Any, *rest: Any) -> Any:
        return replace(real(task, *rest), failures=task.failures + 1)

    return [(transitions, "offered_again", offered_again)]


# --- files ---


@mutant("files are named by attempt")
def _() -> Sequence[Patch]:
    attempts: dict[str, int] = {}

    def claimed(task: Any, attempt: int, nonce: str, *rest: Any) -> Any:
        now = real(task, attempt, nonce, *rest)
        attempts[nonce] = now.claim.attempt
        return now

    def named(path: Callable[..., str]) -> Callable[..., str]:
        return lambda *args: path(*args[:-1], f"{attempts[args[-1]]:016x}")

    real = transitions.claimed
    names = ("parameters_path", "outer_path", "update_path", "state_path")
    return [(transitions, "claimed", claimed)] + [(paths, name, named(getattr(paths, name))) for name in names]


@mutant("no digest is checked")
def _() -> Sequence[Patch]:
    return [(vector_files, "_check", lambda *_: None)]


@mutant("digests of parameters and states are not checked")
def _() -> Sequence[Patch]:
    def check(ref: Any, digest: str, part: int) -> None:
        if "/updates/" in ref.path:
            real(ref, digest, part)

    real = vector_files._check
    return [(vector_files, "_check", check)]


@mutant("a worker's state is taken from whichever attempt left one")
def _() -> Sequence[Patch]:
    def worker_state(execution: Any) -> Any:
        run, files, index = execution.run, execution.services.files, execution.task.key.index
        if run.round_index == 1:
            return real(execution)
        folder = paths.round_folder(run.run_id, "state", run.round_index - 1)
        name = next(name for name in files.names(folder) if name.startswith(f"worker-{index:04d}."))
        return load_safetensors(files.read(f"{folder}/{name}"))

    real = train._worker_state
    return [(train, "_worker_state", worker_state)]


@mutant("a warm environment keeps the parameters it has")
def _() -> Sequence[Patch]:
    def read(self: NewestVector, files: Any, refs: Any) -> Any:
        return self._kept[1] if self._kept is not None else real(self, files, refs)

    real = NewestVector.read
    return [(NewestVector, "read", read)]


@mutant("clearing up stays one round behind")
def _() -> Sequence[Patch]:
    def clear(execution: Any) -> Any:
        run = execution.run
        return real(dataclasses.replace(execution, run=replace(run, round_index=run.round_index + 1)))

    real = every_task.clear
    return [(every_task, "clear", clear)]


@mutant("clearing up does not make the store durable first")
def _() -> Sequence[Patch]:
    return [(SimulatedStore, "make_durable", lambda self: None)]


@mutant("new parameters are not synchronised")
def _() -> Sequence[Patch]:
    real = combine.write_vector
    return [(combine, "write_vector", lambda *args, durable: real(*args, durable=False))]


@mutant("who is refused removes its round's folder")
def _() -> Sequence[Patch]:
    def discard(execution: Any) -> None:
        for path in execution.written:
            execution.services.files.remove(path.rpartition("/")[0])

    return [(execute, "_discard", discard)]


# --- money ---


@mutant("budget is settled at reports alone")
def _() -> Sequence[Patch]:
    def claim_ended(task: Any, *rest: Any, **more: Any) -> Any:
        ended = real(task, *rest, **more)
        return ended and replace(ended, history=task.history)

    real = transitions.claim_ended
    return [(transitions, "claim_ended", claim_ended)]


@mutant("what is in flight is not held back")
def _() -> Sequence[Patch]:
    return [(budget, "open_reservations", lambda run, tasks: dict.fromkeys(run.granted, 0.0))]


# --- bugs that the simulation found, put back ---


@mutant("a slice left behind by its round is not paid for")
def _() -> Sequence[Patch]:
    return [(decide, "_left_behind", lambda state: iter(()))]


@mutant("what a killed evaluation was writing stays")
def _() -> Sequence[Patch]:
    return [(combine, "_clear_unfinished", lambda files, folder: None)]
