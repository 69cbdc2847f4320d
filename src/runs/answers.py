"""A run's figures as JSON: the same from the command line, from StartRun and from the HTTP API."""

from __future__ import annotations

from typing import Any

from contracts.errors import ErrorRecord
from contracts.records import Run
from runs.summary import RunHistory, RunSummary, summarise

INTERRUPTED = "interrupted"


def beginning(run: Run) -> RunSummary:
    """What is known of a run from its own item alone: all, where it has just been started."""
    return summarise(RunHistory(run=run, tasks=(), rounds=(), spans=(), steps=()), run.created_at)


def answer(summary: RunSummary, *, interrupted: bool = False) -> dict[str, Any]:
    """The JSON answer about a run, with every key of `RUN_ANSWER_KEYS`; null where a figure is not known."""
    run = summary.run
    results = run.results
    return {
        "run_id": run.run_id,
        "recipe": run.settings.recipe_name or run.settings.recipe,
        "status": run.status,
        "reason": INTERRUPTED if interrupted else run.reason or None,
        "workers": run.settings.workers,
        "seed": run.settings.seed,
        "rounds": summary.rounds_done,
        "epochs": round(summary.epochs_done, 4),
        "examples": run.examples_seen,
        "train_loss": run.train_loss,
        "val_loss": results.get("val_loss", run.validation.get("val/loss")),
        "val_accuracy": results.get("val_accuracy", run.validation.get("val/accuracy")),
        "test_loss": results.get("test_loss"),
        "test_accuracy": results.get("test_accuracy"),
        "elapsed_s": round(summary.elapsed_s, 3),
        "cost_usd": round(summary.cost_usd, 8),
        "parameters_sha256": results.get("parameters_sha256"),
        "fingerprint": run.fingerprint or None,
        "fingerprints_mixed": run.fingerprints_mixed,
        "error": error_answer(run.error),
    }


def list_entry(run: Run) -> dict[str, Any]:
    """A run as one of many."""
    results = run.results
    return {
        "run_id": run.run_id,
        "recipe": run.settings.recipe_name or run.settings.recipe,
        "status": run.status,
        "reason": run.reason or None,
        "workers": run.settings.workers,
        "rounds": max(0, run.round_index - 1),
        "total_rounds": run.plan.total_rounds if run.plan else None,
        "train_loss": run.train_loss,
        "val_accuracy": results.get("val_accuracy", run.validation.get("val/accuracy")),
        "test_accuracy": results.get("test_accuracy"),
        "cost_usd": round(run.spent_usd, 8),
        "created_at": run.created_at,
    }


def error_answer(record: ErrorRecord | None) -> dict[str, str] | None:
    """As a run's answer holds its error."""
    if record is None:
        return None
    return {"number": record.number, "name": record.name, "message": record.message, "advice": record.advice}
