"""Figures and stages of a run in plain words. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from contracts.records import Run, Task, TaskKey
from runs.block_progress import blocks_stored

SPARKS = "▁▂▃▄▅▆▇█"


def duration(seconds: float) -> str:
    """`0.42 s`, `12.3 s`, `2 min 05 s`, `1 h 03 min`."""
    if seconds < 0.995:
        return f"{max(0.0, seconds):.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def clock(seconds: float) -> str:
    """`0:07`, `12:05`, `1:02:03`: of constant width while it counts."""
    whole = max(0, int(seconds))
    minutes = f"{whole // 60 % 60:02d}" if whole >= 3600 else f"{whole // 60}"
    return (f"{whole // 3600}:" if whole >= 3600 else "") + f"{minutes}:{whole % 60:02d}"


def usd(amount: float) -> str:
    """Dollars with as many digits as say something: `$1.25`, `$0.0312`, `$0.00042`."""
    if amount >= 1:
        return f"${amount:,.2f}"
    if amount >= 0.01 or amount <= 0:
        return f"${amount:.4f}"
    return f"${amount:.{1 - math.floor(math.log10(amount))}f}"


def number(value: float) -> str:
    """Loss or accuracy."""
    return f"{value:.4f}"


def maybe(value: float | None) -> str:
    """A figure, or a dash where it is not known."""
    return "–" if value is None else number(value)


def count(value: int, noun: str, plural: str = "") -> str:
    """`1 worker`, `4 workers`."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def spark(values: Sequence[float], width: int) -> str:
    """Values as a little curve, the last ones to the right, thinned out to the width."""
    if not values or width < 1:
        return ""
    step = max(1.0, len(values) / width)
    picked = [values[int(index * step)] for index in range(min(width, len(values)))]
    picked[-1] = values[-1]
    low, high = min(picked), max(picked)
    scale = (len(SPARKS) - 1) / (high - low) if high > low else 0.0
    return "".join(SPARKS[round((value - low) * scale)] for value in picked)


def recipe(run: Run) -> str:
    """The recipe's name."""
    return run.settings.recipe_name or run.settings.recipe


def phase(run: Run, tasks: Mapping[TaskKey, Task], *, warm: bool = True, told_blocks: Mapping[int, int]) -> str:
    """What the run is doing.

    Args:
        warm: whether functions have been at work just now, so that an open offer is a matter of milliseconds.
        told_blocks: worker → blocks of a backbone's outputs that it has told of.
    """
    if run.ended:
        return ending(run)
    rounds = f"round {run.round_index} of {run.plan.total_rounds}" if run.plan else ""
    claimed = any(task.status == "CLAIMED" for task in tasks.values())
    match run.phase:
        case "PREPARING":
            return "reading the data" if claimed else "starting the functions"
        case "EXTRACTING":
            blocks = blocks_stored(run, tasks, told_blocks)
            if not claimed and not blocks.stored:
                return "loading TensorFlow"
            return f"computing the backbone's outputs, {blocks.stored:,} of {blocks.total:,} blocks"
        case "INITIALISING":
            return "building the model" if claimed else "loading TensorFlow"
        case "TRAINING" if not warm and not claimed:
            return f"{rounds}: starting the functions"
        case "TRAINING":
            done = sum(task.key.kind == "train" and task.status == "DONE" for task in tasks.values())
            return f"{rounds}: training, {done} of {run.settings.workers} done"
        case "COMBINING":
            return f"{rounds}: combining the updates"
        case "EVALUATING":
            return "evaluating on the test set"
        case "CLEARING":
            return "clearing up"


def ending(run: Run) -> str:
    """How an ended run ended."""
    if run.status == "FINISHED":
        return f"finished: {REASONS.get(run.reason, run.reason)}"
    if run.status == "CANCELLED":
        return "stopped"
    if run.reason in REASONS:
        return REASONS[run.reason]
    return "failed"


REASONS = {
    "epochs": "all epochs done",
    "rounds": "all rounds done",
    "target accuracy": "target accuracy reached",
    "patience": "no better for long",
    "budget": "budget reached",
    "deadline": "deadline passed",
}


def status(run: Run, conducted: bool) -> str:
    """One word for a table.

    Args:
        conducted: whether an engine works on it just now.
    """
    if run.ended:
        return {"FINISHED": "finished", "CANCELLED": "stopped"}.get(run.status, "failed")
    if conducted:
        return "running"
    return "interrupted" if run.started_at else "not started"


STATUS_STYLES = {
    "finished": "green",
    "running": "cyan",
    "failed": "red",
    "interrupted": "yellow",
    "stopped": "yellow",
    "not started": "yellow",
}
