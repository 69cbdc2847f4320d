"""What a command answers about a run: the same figures for a program and for a person."""

from __future__ import annotations

from cli.failure import EXIT_INTERRUPTED
from contracts.errors import EXIT_RUN_FAILED
from contracts.records import Run
from runs.answers import INTERRUPTED, answer

__all__ = ["INTERRUPTED", "answer", "exit_code"]


def exit_code(run: Run, *, interrupted: bool = False) -> int:
    """0 finished, 130 interrupted, otherwise as the run's error says."""
    if run.status == "FINISHED":
        return 0
    if interrupted or not run.ended:
        return EXIT_INTERRUPTED
    return run.error.exit_code if run.error else EXIT_RUN_FAILED
