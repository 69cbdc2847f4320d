"""Progress as plain lines, where there is no terminal that could redraw itself: a few, and one an event."""

from __future__ import annotations

from cli.failure import echo_error
from cli.follow import Snapshot, doing
from runs import words

BETWEEN_LINES_S = 5.0


class PlainView:
    """Prints a line when the run enters another phase, every few seconds while it counts, and at every failure."""

    interval_s = 0.5

    def __init__(self) -> None:
        self._phase = ""
        self._last_line_s = 0.0

    def begin(self) -> None:
        """Nothing."""

    def update(self, snapshot: Snapshot) -> None:
        """Print what is new."""
        run = snapshot.run
        if not self._phase:
            workers = words.count(run.settings.workers, "worker")
            echo_error(f"{words.recipe(run)}, {run.run_id}: {workers}, seed {run.settings.seed}")
        for event in snapshot.events:
            echo_error(f"{words.clock(snapshot.elapsed_s)}  {event}")
        training = snapshot.examples_per_s is not None and run.phase in ("TRAINING", "COMBINING")
        counting = run.phase == "EXTRACTING" and snapshot.fraction > 0
        text = figures(snapshot) if training else doing(snapshot)
        phase = "training" if training else run.phase if counting else text
        due = (training or counting) and snapshot.elapsed_s - self._last_line_s >= BETWEEN_LINES_S
        if phase != self._phase or due:
            self._phase, self._last_line_s = phase, snapshot.elapsed_s
            echo_error(f"{words.clock(snapshot.elapsed_s)}  {text}")

    def end(self) -> None:
        """Nothing."""


def figures(snapshot: Snapshot) -> str:
    """One line on a run that trains."""
    run = snapshot.run
    parts = [f"round {run.round_index} of {run.plan.total_rounds if run.plan else '?'}"]
    if run.settings.epochs is not None:
        parts.append(f"epoch {snapshot.epochs:.1f} of {run.settings.epochs}")
    if snapshot.loss is not None:
        parts.append(f"loss {words.number(snapshot.loss)}")
    if snapshot.validation_accuracy is not None:
        parts.append(f"val accuracy {words.number(snapshot.validation_accuracy)}")
    if snapshot.examples_per_s is not None:
        parts.append(f"{snapshot.examples_per_s:,.0f} examples/s")
    parts.append(words.usd(snapshot.cost_usd))
    return ", ".join(parts)
