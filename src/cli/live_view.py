"""The live picture of a run on a terminal. `picture` is pure; `LiveView` puts it on the screen."""

from __future__ import annotations

from collections import Counter

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cli.follow import Snapshot, WorkerNow, WorkerState, doing
from runs import words

MOST_WORKER_LINES = 8
OTHER_LINES = 6
WORKER_BAR = 16
SPARK_WIDTH = 24
STATES: dict[WorkerState, tuple[str, str]] = {
    "waiting": ("waiting its turn", "dim"),
    "starting": ("waiting for a function", "dim"),
    "training": ("training", "cyan"),
    "paused": ("handing over", "cyan"),
    "again": ("trying again", "yellow"),
    "done": ("done", "green"),
    "failed": ("failed", "red"),
}


class LiveView:
    """Redraws the picture in place; nothing of it stays when it ends."""

    interval_s = 0.2

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)

    def begin(self) -> None:
        """Take the lower part of the screen."""
        self._live.start()

    def update(self, snapshot: Snapshot) -> None:
        """Draw the run as it stands. What happened is printed above, and stays."""
        for event in snapshot.events:
            self._live.console.print(Text(f"! {event}", style="yellow"))
        size = self._console.size
        self._live.update(picture(snapshot, size.width, size.height), refresh=True)

    def end(self) -> None:
        """Give the screen back."""
        self._live.stop()


def picture(snapshot: Snapshot, width: int, height: int) -> RenderableType:
    """The run as it stands.

    Args:
        width, height: of the terminal, in characters.
    """
    lines: list[RenderableType] = [_title(snapshot), _phase(snapshot), _bar(snapshot, width)]
    if snapshot.run.plan is not None and snapshot.run.phase in ("TRAINING", "COMBINING"):
        room = min(MOST_WORKER_LINES, max(0, height - OTHER_LINES))
        if len(snapshot.workers) <= room:
            lines.append(_workers(snapshot, width))
        elif room:
            lines.append(_counts(snapshot))
    lines.append(_figures(snapshot, width))
    return Group(*lines)


def _line(*parts: tuple[str, str] | str) -> Text:
    text = Text.assemble(*parts)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _title(snapshot: Snapshot) -> Text:
    run = snapshot.run
    return _line(
        (words.recipe(run), "bold"), "  ", (run.run_id, "dim"), "  ", words.count(run.settings.workers, "worker"),
        (f", seed {run.settings.seed}", "dim"),
    )  # fmt: skip


def _phase(snapshot: Snapshot) -> Text:
    return _line((doing(snapshot), "cyan"))


def _bar(snapshot: Snapshot, width: int) -> RenderableType:
    plan, settings = snapshot.run.plan, snapshot.run.settings
    figures = [f"{snapshot.fraction * 100:3.0f} %"]
    if plan is not None and settings.epochs is not None:
        figures.append(f"epoch {snapshot.epochs:.1f} of {settings.epochs}")
    figures.append(words.clock(snapshot.elapsed_s))
    if snapshot.left_s is not None and snapshot.fraction < 1:
        figures.append(f"{words.clock(snapshot.left_s)} left")
    text = "  ".join(figures)
    grid = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=1.0, completed=snapshot.fraction, width=max(10, min(40, width - len(text) - 2)))
    grid.add_row(bar, Text(text, no_wrap=True))
    return grid


def _workers(snapshot: Snapshot, width: int) -> Table:
    grid = Table.grid(padding=(0, 2))
    for _ in range(3):
        grid.add_column(no_wrap=True, overflow="ellipsis")
    for worker in snapshot.workers:
        grid.add_row(f"worker {worker.worker_index}", _state(worker), _steps(worker, width))
    return grid


def _state(worker: WorkerNow) -> RenderableType:
    text, style = STATES[worker.state]
    if worker.state != "training" or not worker.steps:
        return Text(text, style=style)
    return ProgressBar(total=worker.total_steps, completed=worker.steps, width=WORKER_BAR)


def _steps(worker: WorkerNow, width: int) -> Text:
    parts = [f"step {worker.steps:,} of {worker.total_steps:,}"]
    if worker.loss is not None:
        parts.append(f"loss {words.number(worker.loss)}")
    if worker.steps_per_s is not None and width >= 80:
        parts.append(f"{worker.steps_per_s:,.0f} steps/s")
    if worker.hand_overs:
        parts.append(words.count(worker.hand_overs, "hand-over"))
    return Text("  ".join(parts), style="dim")


def _counts(snapshot: Snapshot) -> Text:
    found = Counter(worker.state for worker in snapshot.workers)
    parts: list[tuple[str, str] | str] = []
    for state, (text, style) in STATES.items():
        if found[state]:
            parts += [(f"{found[state]} {text}", style), "  "]
    return _line("workers: ", *parts)


def _figures(snapshot: Snapshot, width: int) -> Text:
    parts: list[tuple[str, str] | str] = []
    if snapshot.loss is not None:
        parts += [("loss ", "dim"), words.number(snapshot.loss), "  "]
    if snapshot.validation_accuracy is not None:
        parts += [("val accuracy ", "dim"), words.number(snapshot.validation_accuracy), "  "]
    if snapshot.examples_per_s is not None:
        parts += [f"{snapshot.examples_per_s:,.0f}", (" examples/s  ", "dim")]
    parts += [words.usd(snapshot.cost_usd), (" on Lambda", "dim")]
    used = sum(len(part if isinstance(part, str) else part[0]) for part in parts)
    curve = words.spark(snapshot.losses, min(SPARK_WIDTH, width - used - 2)) if len(snapshot.losses) > 1 else ""
    return _line(*parts, "  ", (curve, "cyan"))
