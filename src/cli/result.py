"""What a command answers about a run: the same figures for a program and for a person."""

from __future__ import annotations

from typing import Any

from cli.failure import EXIT_INTERRUPTED, error_dict
from contracts.errors import EXIT_RUN_FAILED
from contracts.records import Run
from runs.summary import RunSummary

INTERRUPTED = "interrupted"


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
        "error": error_dict(run.error),
    }


def exit_code(run: Run, *, interrupted: bool = False) -> int:
    """0 finished, 130 interrupted, otherwise as the run's error says."""
    if run.status == "FINISHED":
        return 0
    if interrupted or not run.ended:
        return EXIT_INTERRUPTED
    return run.error.exit_code if run.error else EXIT_RUN_FAILED
