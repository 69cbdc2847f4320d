"""Deliberate faults in the protocol, each of which the model must find."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from contracts.records import FileRef, Report, Run, Task, TaskKey
from contracts.settings import RunSettings
from model.abstract_work import TORN, origin_named
from model.model_state import Bounds, StoreView
from runs import combine, decide, execute, extract, paths, stages, train, transitions
from runs.execute import Execution
from training.combine import Update

Break = Callable[[pytest.MonkeyPatch], None]


class Broken(NamedTuple):
    """A fault in the protocol, the bounds within which it must show, and words of the promise that it breaks."""

    name: str
    apply: Break
    bounds: Bounds
    promise: str


def everywhere(patch: pytest.MonkeyPatch, original: Any, substitute: Any) -> None:
    """Put the substitute wherever a module of `runs` knows the original by its name."""
    name = original.__name__
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("runs.") and getattr(module, name, None) is original:
            patch.setattr(module, name, substitute)


def no_generation(patch: pytest.MonkeyPatch) -> None:
    """A slice is done however often the updates have changed since."""
    original = stages.required_tasks

    def required_tasks(run: Run) -> list[TaskKey]:
        return [replace(key, generation=1) if key.kind == "combine" else key for key in original(run)]

    everywhere(patch, original, required_tasks)
    left_behind(patch)  # which would end the claims of a generation that is still in use here


def frozen_separately(patch: pytest.MonkeyPatch) -> None:
    """Each slice takes the newest reports, and a late report takes the place of an earlier one."""

    def updates(execution: Execution, *, consistent: bool) -> list[Update]:
        tasks = execution.services.store.load_tasks("", execution.run.round_index)
        reports = [task.report for key, task in sorted(tasks.items()) if key.kind == "train"]
        return [Update(i, r.outputs["update"], r.examples, r.nonce) for i, r in enumerate(reports) if r]

    patch.setattr(combine, "_updates", updates)
    late_reports(patch)


def late_reports(patch: pytest.MonkeyPatch) -> None:
    """Whoever reports is believed."""
    original = transitions.reported

    def reported(task: Task, report: Report, settings: RunSettings, now: float) -> Task:
        done = task.status == "DONE" and task.report is not None and report.outcome == "done"
        if task.key.kind == "train" and done:
            return replace(task, version=task.version + 1, report=report)
        return original(task, report, settings, now)

    patch.setattr(transitions, "reported", reported)


def any_state(patch: pytest.MonkeyPatch) -> None:
    """A worker takes a state of the round before: whichever lies there first."""

    def worker_state(execution: Execution) -> Any:
        run, files = execution.run, execution.services.files
        folder = paths.round_folder(run.run_id, "state", run.round_index - 1)
        own = "initial" if run.round_index == 1 else f"worker-{execution.task.key.index:04d}"
        path = next(f"{folder}/{name}" for name in files.names(folder) if name.startswith(own))
        ref = FileRef(path=path, bytes=1, count=1, parts=(files.read(path).decode(),))
        return {"origin": origin_named(ref)}

    patch.setattr(train, "_worker_state", worker_state)


def burnt_attempts(patch: pytest.MonkeyPatch) -> None:
    """An offer that nobody claimed counts as a failure."""
    original = transitions.offered_again

    def offered_again(task: Task, settings: RunSettings, now: float) -> Task:
        return replace(original(task, settings, now), failures=task.failures + 1)

    patch.setattr(transitions, "offered_again", offered_again)


def cleared_too_early(patch: pytest.MonkeyPatch) -> None:
    """Clearing up stays one round behind, not two."""
    original = combine.clear

    def clear(execution: Execution) -> Report:
        next_round = replace(execution.run, round_index=execution.run.round_index + 1)
        final = execution.task.key.index == stages.FINAL_CLEAR_INDEX
        return original(execution if final else Execution(**(vars(execution) | {"run": next_round})))

    patch.setattr(combine, "clear", clear)
    patch.setattr(stages, "CLEAR_LAG", 1)
    patch.setattr(stages, "CLEAR_EVERY_ROUNDS", 1)


def named_by_worker(patch: pytest.MonkeyPatch) -> None:
    """Two executions of a task write files of the same name."""
    update, state = paths.update_path, paths.state_path
    patch.setattr(paths, "update_path", lambda run_id, r, w, nonce: update(run_id, r, w, "all"))
    patch.setattr(paths, "state_path", lambda run_id, r, w, nonce: state(run_id, r, w, "all"))


def claim_ignored(patch: pytest.MonkeyPatch) -> None:
    """What somebody has claimed can be claimed again."""
    original = transitions.claimed

    def claimed(task: Task | None, *rest: Any) -> Task:
        if task is not None and task.status == "CLAIMED":
            task = replace(task, status="OFFERED", claim=None)
        return original(task, *rest)

    patch.setattr(transitions, "claimed", claimed)


def unconditional_run(patch: pytest.MonkeyPatch) -> None:
    """A run is saved whatever has become of it meanwhile."""
    patch.setattr(StoreView, "checks_versions", False)


def old_word(patch: pytest.MonkeyPatch) -> None:
    """The word that an execution is dead ends whichever claim there is."""
    original = transitions.claim_ended

    def claim_ended(task: Task | None, error: Any, settings: RunSettings, now: float, **_: Any) -> Task | None:
        return original(task, error, settings, now)

    patch.setattr(transitions, "claim_ended", claim_ended)


def no_digests(patch: pytest.MonkeyPatch) -> None:
    """Updates are combined as they lie there."""

    def average_slice(files: Any, updates: list[Update], *_: Any) -> tuple[str, ...]:
        texts = [files.read(update.file.path).decode() for update in updates]
        return tuple(text if text == TORN else text.split("|")[1] for text in texts)

    patch.setattr(combine, "average_slice", average_slice)


def files_stay(patch: pytest.MonkeyPatch) -> None:
    """Whoever is refused leaves its files."""
    patch.setattr(execute, "_discard", lambda execution: None)


def claims_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Nobody ends a claim that has expired."""
    patch.setattr(decide, "_expired_claims", lambda state, now: iter(()))


def left_behind(patch: pytest.MonkeyPatch) -> None:
    """A slice of a voided generation keeps its claim when its round is committed (found by this model)."""
    patch.setattr(decide, "_left_behind", lambda state: iter(()))


def obsolete_offers(patch: pytest.MonkeyPatch) -> None:
    """A slice of a voided generation is offered again and again (found by this model)."""
    patch.setattr(decide, "_on_offer", lambda run, task: task.status == "OFFERED")


def some_blocks(patch: pytest.MonkeyPatch) -> None:
    """The outputs of the backbone are joined when the first worker has computed its own."""
    original = stages.required_tasks

    def required_tasks(run: Run) -> list[TaskKey]:
        return original(run)[:1] if run.phase == "EXTRACTING" else original(run)

    everywhere(patch, original, required_tasks)


def paused_blocks(patch: pytest.MonkeyPatch) -> None:
    """Who goes on after a pause reports its own blocks alone."""
    original = extract.extract

    def of_this_attempt(execution: Execution, trainer: Any) -> Report:
        report = original(execution, trainer)
        before = len(execution.task.resume.facts["digests"]) if execution.task.resume else 0
        return replace(report, facts=report.facts | {"digests": report.facts["digests"][before:]})

    patch.setattr(extract, "extract", of_this_attempt)


def within(*kinds: str, faults: int = 1, **more: Any) -> Bounds:
    return Bounds(faults if kinds else 0, frozenset(kinds), **more)


BROKEN = [
    Broken("no generation", no_generation, within("tear"), "finds what it needs"),
    Broken("slices frozen separately", frozen_separately, within("slow execution"), "all slices"),
    Broken("late reports accepted", late_reports, within("slow execution"), "finds what it needs"),
    Broken("state of another execution", any_state, within("slow execution"), "state and its combined update"),
    Broken("attempt burnt by a lost offer", burnt_attempts, within("lose"), "each failure is one of an execution"),
    Broken("cleared one round behind", cleared_too_early, within(rounds=3), "finds what it needs"),
    Broken("files named by worker", named_by_worker, within("slow execution"), "what is found torn was damaged"),
    Broken("claim ignored", claim_ignored, within("double"), "a claim stays with its execution"),
    Broken("run saved unconditionally", unconditional_run, within(), "a new round is a committed one"),
    Broken("old word ends a new claim", old_word, within("crash"), "attempts are lost"),
    Broken("digests not checked", no_digests, within("tear"), "all slices combine the frozen updates"),
    Broken("refused files stay", files_stay, within("slow execution", from_round=2), "nothing else is left"),
    Broken("expired claims stay", claims_for_ever, within("crash"), "never ends"),
    Broken("late slices accepted", left_behind, within("tear", from_round=2), "nothing else is left"),
    Broken("joined before all is computed", some_blocks, within(rounds=1, backbone=True), "finds what it needs"),
    Broken(
        "blocks before a pause lost", paused_blocks, within("pause", rounds=1, backbone=True), "finds what it needs"
    ),
    Broken("obsolete slices offered again", obsolete_offers, within("tear", from_round=2), "an attempt that never ran"),
]
