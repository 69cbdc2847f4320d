"""The stages of a run: which tasks each one needs, and what it becomes when they are done. Pure.

PREPARING → INITIALISING → TRAINING(1) → COMBINING(1) → TRAINING(2) → … → EVALUATING → CLEARING → FINISHED
     └→ EXTRACTING ┘            ▲            │
                                └────────────┘ an update was found torn: the next generation

A run on the outputs of a frozen backbone goes by EXTRACTING, unless an earlier run has left them there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from contracts.errors import LambdafitError, TooManyWorkers
from contracts.records import Best, FileRef, Report, RoundRecord, Run, Task, TaskKey
from training.feature_blocks import plan_blocks
from training.shards import plan_rounds

FINAL_CLEAR_INDEX = 1

CLEAR_LAG = 2
"""Clearing up stays this many rounds behind, so that no running or voidable generation names what it removes."""

CLEAR_AT_ONCE_BYTES = 64 << 20
CLEAR_EVERY_ROUNDS = 8
"""Rounds that leave less than that are cleared several at a time."""


def required_tasks(run: Run) -> list[TaskKey]:
    """The tasks that must be done before the run leaves its stage."""
    here = run.round_index
    match run.phase:
        case "PREPARING":
            return [TaskKey(round_index=here, kind="prepare")]
        case "EXTRACTING":
            return [TaskKey(round_index=here, kind="extract", index=i) for i in range(extracting_workers(run))]
        case "INITIALISING":
            return [TaskKey(round_index=here, kind="initialise")]
        case "TRAINING":
            return [TaskKey(round_index=here, kind="train", index=i) for i in range(run.settings.workers)]
        case "COMBINING":
            return [
                TaskKey(round_index=here, kind="combine", index=i, generation=run.generation) for i in range(run.slices)
            ]
        case "EVALUATING":
            return [TaskKey(round_index=here, kind="evaluate")]
        case "CLEARING":
            return [TaskKey(round_index=here, kind="clear", index=FINAL_CLEAR_INDEX)]


def extracting_workers(run: Run) -> int:
    """Among how many the examples are dealt out in EXTRACTING: each has at least one block."""
    return min(run.settings.workers, len(plan_blocks(run.data_facts)))


def is_done(run: Run, task: Task | None) -> bool:
    """Whether the task has a report that counts: one that was not voided since."""
    if task is None:
        return False
    if task.key.kind == "clear" and task.status == "FAILED":
        return True  # a file that cannot be removed is no reason to lose a trained model
    if task.status != "DONE" or task.report is None:
        return False
    return task.key.kind != "train" or run.voided.get(task.key.index) != task.report.nonce


def visible_tasks(run: Run, tasks: Mapping[TaskKey, Task]) -> dict[TaskKey, Task]:
    """Those of `tasks` that belong to the run's current round, or are its clearing-up under way."""
    return {key: task for key, task in tasks.items() if key.round_index == run.round_index or key == run.clearing}


def is_settled(run: Run, tasks: Mapping[TaskKey, Task], key: TaskKey | None) -> bool:
    """Whether nothing more will come of a task: its cost is final. True for no task."""
    return key is None or (key in tasks and tasks[key].status in ("DONE", "FAILED"))


def torn_inputs(run: Run, tasks: Mapping[TaskKey, Task]) -> dict[int, str]:
    """Worker → nonce of the frozen updates that a combine task of this generation found torn."""
    if run.phase != "COMBINING":
        return {}
    found: dict[int, str] = {}
    for key in required_tasks(run):
        task = tasks.get(key)
        if task is not None and task.report is not None and task.status != "DONE":
            found |= {i: nonce for i, nonce in task.report.voids.items() if run.inputs.get(i) == nonce}
    return found


def train_again(run: Run, voided: dict[int, str]) -> Run:
    """COMBINING(g) → TRAINING(g+1): voids the torn reports and every slice of generation g."""
    return replace(run, phase="TRAINING", generation=run.generation + 1, inputs={}, voided=run.voided | voided)


def advance(run: Run, tasks: Mapping[TaskKey, Task], now: float) -> tuple[Run, RoundRecord | None]:
    """The run in its next stage, all tasks of this one being done; and the round that this commits, if any.

    The version is left for the caller to raise.
    """
    reports = [task.report for key in required_tasks(run) if (task := tasks[key]).report is not None]
    run = _with_fingerprints(run, reports)
    match run.phase:
        case "PREPARING":
            return _prepared(run, reports[0].facts, now), None
        case "EXTRACTING":
            return replace(run, phase="INITIALISING", feature_facts={"width": reports[0].facts["width"]}), None
        case "INITIALISING":
            return _initialised(run, tasks, reports[0]), None
        case "TRAINING":
            inputs = {i: report.nonce for i, report in enumerate(reports)}
            return replace(run, phase="COMBINING", inputs=inputs), None
        case "COMBINING":
            return _combined(run, tasks, reports, now)
        case "EVALUATING":
            return replace(run, phase="CLEARING", results=reports[0].facts), None
        case "CLEARING":
            spent_usd = run.spent_usd + sum(task.cost_usd for task in tasks.values())
            return replace(
                run,
                status="FINISHED",
                reason=run.stop_reason,
                ended_at=now,
                spent_usd=spent_usd,
                granted=(),
                cleared_through=run.round_index,
            ), None


def _report(task: Task) -> Report:
    assert task.report is not None  # noqa: S101 - a done task has its report; `is_done` was asked before
    return task.report


def _with_fingerprints(run: Run, reports: list[Report]) -> Run:
    """Pins the numerics that the run began with, and notes where an execution had others."""
    seen = {report.fingerprint for report in reports if report.fingerprint}
    pinned = run.fingerprint or (min(seen) if seen else "")
    return replace(run, fingerprint=pinned, fingerprints_mixed=run.fingerprints_mixed or bool(seen - {pinned}))


def _failed(run: Run, error: LambdafitError, now: float) -> Run:
    return replace(run, status="FAILED", reason=type(error).__name__, error=error.record(), ended_at=now)


def _prepared(run: Run, facts: dict[str, Any], now: float) -> Run:
    facts = dict(facts)
    features = facts.pop("features", {})
    run = replace(run, data_facts=facts)
    examples = int(facts["train_examples"])
    if run.settings.workers > examples:
        error = TooManyWorkers(f"run {run.run_id}", f"{run.settings.workers} workers", f"at most {examples}")
        return _failed(run, error, now)
    is_missing = run.settings.backbone_digest and not features
    return replace(run, phase="EXTRACTING" if is_missing else "INITIALISING", feature_facts=features)


def _initialised(run: Run, tasks: Mapping[TaskKey, Task], report: Report) -> Run:
    facts = report.facts
    # The round changes, so its tasks leave sight: their cost moves into the run, their reservations end.
    cost_usd = sum(task.cost_usd for task in tasks.values())
    bounds = tuple(int(bound) for bound in facts["slice_bounds"])
    return replace(
        run,
        phase="TRAINING",
        round_index=1,
        granted=(),
        spent_usd=run.spent_usd + cost_usd,
        plan=plan_rounds(int(run.data_facts["train_examples"]), run.settings),
        feature_facts=facts.get("features", {}),
        parameter_count=int(facts["parameter_count"]),
        trainable_count=int(facts["trainable_count"]),
        slice_bounds=bounds,
        parameters=tuple(report.outputs[f"parameters-{i}"] for i in range(len(bounds) - 1)),
        initial_state=report.outputs.get("state"),
        constants=report.outputs.get("constants"),
    )


def _combined(run: Run, tasks: Mapping[TaskKey, Task], slices: list[Report], now: float) -> tuple[Run, RoundRecord]:
    """COMBINING → the next round's TRAINING, or EVALUATING where a stop is reached."""
    assert run.plan is not None  # noqa: S101 - set when the run left INITIALISING
    worker_keys = [TaskKey(round_index=run.round_index, kind="train", index=i) for i in range(run.settings.workers)]
    workers = [_report(tasks[key]) for key in worker_keys]
    examples = sum(report.examples for report in workers)
    metrics = {"train/loss": sum(r.metrics["loss"] * r.examples for r in workers) / max(1, examples)}
    if workers and all("accuracy" in report.metrics for report in workers):
        metrics["train/accuracy"] = sum(r.metrics["accuracy"] * r.examples for r in workers) / max(1, examples)
    metrics |= _validation(workers)
    clearing = None if is_settled(run, tasks, run.clearing) else run.clearing
    cost_usd = sum(task.cost_usd for task in tasks.values() if task.key != clearing)
    outer = tuple(report.outputs["outer"] for report in slices if "outer" in report.outputs)
    done = replace(
        run,
        phase="TRAINING",
        round_index=run.round_index + 1,
        generation=1,
        inputs={},
        previous_inputs=run.inputs,
        voided={},
        granted=tuple(name for name in run.granted if clearing and name.startswith(f"{clearing}@")),
        clearing=clearing,
        parameters=tuple(report.outputs["parameters"] for report in slices),
        outer=outer,
        spent_usd=run.spent_usd + cost_usd,
        examples_seen=run.examples_seen + examples,
        train_loss=metrics["train/loss"],
        cleared_through=_cleared_through(run, tasks),
    )
    if "val/loss" in metrics:
        done = _with_validation(done, metrics, run.parameters)
    record = RoundRecord(
        round_index=run.round_index,
        generation=run.generation,
        committed_at=now,
        examples=examples,
        epochs=done.examples_seen / run.plan.examples,
        metrics=metrics,
        inputs=run.inputs,
        parameters=done.parameters,
        cost_usd=cost_usd,
    )
    stop = _stop_reason(done, run.plan.total_rounds)
    return _stopped(done, stop) if stop else _with_clearing(done), record


def _cleared_through(run: Run, tasks: Mapping[TaskKey, Task]) -> int:
    task = tasks.get(run.clearing) if run.clearing else None
    if task is None or task.status != "DONE":
        return run.cleared_through
    return int(_report(task).facts["through"])


def _with_clearing(run: Run) -> Run:
    """The run with a clearing-up begun, if one is due: each round where rounds leave much, else now and then."""
    behind = run.round_index - CLEAR_LAG - run.cleared_through
    round_bytes = run.parameter_count * 4 * run.settings.workers
    due = 1 if round_bytes > CLEAR_AT_ONCE_BYTES else CLEAR_EVERY_ROUNDS
    if run.clearing is not None or behind < due or run.round_index <= CLEAR_LAG:
        return run
    return replace(run, clearing=TaskKey(round_index=run.round_index, kind="clear"))


def _validation(workers: list[Report]) -> dict[str, float]:
    """The validation figures of the parameters that this round began with, over all workers' parts."""
    parts = [report.metrics for report in workers if "val_examples" in report.metrics]
    examples = sum(part["val_examples"] for part in parts)
    if not examples:
        return {}
    metrics = {"val/loss": sum(part["val_loss_sum"] for part in parts) / examples}
    if all("val_correct" in part for part in parts):
        metrics["val/accuracy"] = sum(part["val_correct"] for part in parts) / examples
    return metrics


def _with_validation(run: Run, metrics: dict[str, float], parameters: tuple[FileRef, ...]) -> Run:
    """Notes the figures, which belong to the round before the one just combined, and pins the best."""
    validation = {name: value for name, value in metrics.items() if name.startswith("val/")}
    value = metrics["val/accuracy"] if "val/accuracy" in metrics else -metrics["val/loss"]
    run = replace(run, validation=validation)
    if run.best is None or value > run.best.value:
        best = Best(round_index=run.round_index - 2, value=value, parameters=parameters)
        return replace(run, best=best, evaluations_without_gain=0)
    return replace(run, evaluations_without_gain=run.evaluations_without_gain + 1)


def _stop_reason(run: Run, total_rounds: int) -> str:
    settings = run.settings
    accuracy = run.validation.get("val/accuracy")
    if settings.target_accuracy is not None and accuracy is not None and accuracy >= settings.target_accuracy:
        return "target accuracy"
    if settings.patience is not None and run.evaluations_without_gain >= settings.patience:
        return "patience"
    if run.round_index > total_rounds:
        return "epochs" if settings.epochs is not None else "rounds"
    return ""


def _stopped(run: Run, reason: str) -> Run:
    """The run before its last evaluation: with the best parameters where a stop looked for them."""
    run = replace(run, phase="EVALUATING", stop_reason=reason, final_round=run.round_index - 1)
    if run.best is not None and reason in ("target accuracy", "patience"):
        return replace(run, parameters=run.best.parameters, final_round=run.best.round_index)
    return run
