"""Parts of the screens that say what a run did."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from contracts.records import Run
from runs import words
from runs.summary import IDLE, RunSummary

BAR_WIDTH = 24
NARROW_BAR_WIDTH = 12
INDENT = (0, 0, 0, 2)
SMALL_SHARE = 0.005
TIME_HELP = {
    "init": "start of functions, TensorFlow",
    "prepare": "read and store the data",
    "build": "build the model",
    "load": "read parameters and state",
    "assign": "set the model's variables",
    "evaluate": "validation and test",
    "compute": "training steps",
    "write": "save results",
    "wait": "look up what to combine",
    "combine": "combine updates",
    "clear": "remove old files",
    IDLE: "waiting for one another",
}


def headline(summary: RunSummary, *, conducted: bool = False) -> Text:
    """What it was and how it stands."""
    run = summary.run
    word = words.status(run, conducted)
    text = Text()
    text.append(words.recipe(run), "bold").append(f"  {run.run_id}  ", "dim")
    text.append(words.ending(run) if run.ended else word, words.STATUS_STYLES.get(word, ""))
    if run.started_at:
        text.append(
            f" after {words.duration(summary.elapsed_s)}" if run.ended else f", {words.duration(summary.elapsed_s)}"
        )
    return text


def figures(summary: RunSummary, width: int) -> RenderableType:
    """Accuracy, loss, time and cost: in two columns where there is room."""
    run, results = summary.run, summary.run.results
    pairs: list[tuple[str, str]] = []
    for name, key, so_far in (
        ("test accuracy", "test_accuracy", None),
        ("test loss", "test_loss", None),
        ("validation accuracy", "val_accuracy", run.validation.get("val/accuracy")),
        ("validation loss", "val_loss", run.validation.get("val/loss")),
        ("training loss", "", run.train_loss),
    ):
        value = results.get(key, so_far)
        if value is not None:
            pairs.append((name, words.number(float(value))))
    pairs += [
        ("rounds", f"{summary.rounds_done:,}" + (f" of {run.plan.total_rounds:,}" if run.plan else "")),
        ("epochs", f"{summary.epochs_done:.3g}"),
        ("examples", f"{run.examples_seen:,}"),
        ("time", words.duration(summary.elapsed_s)),
        ("cost on Lambda", words.usd(summary.cost_usd)),
    ]
    columns = 2 if width >= 72 else 1
    grid = Table.grid(padding=(0, 2))
    half = -(-len(pairs) // columns)
    for row in range(half):
        cells: list[Text] = []
        for column in range(columns):
            index = row + column * half
            name, value = pairs[index] if index < len(pairs) else ("", "")
            cells += [Text(name, style="dim"), Text(value + "   ")]
        grid.add_row(*cells)
    return Padding(grid, INDENT, expand=False)


def time_chart(summary: RunSummary, width: int, *, blocks: bool) -> RenderableType:
    """Where the time went: a bar a kind of work.

    Args:
        blocks: whether the terminal can show block characters.
    """
    side_by_side = f"{words.count(summary.slots, 'function')} side by side for {words.duration(summary.elapsed_s)}"
    head = Text.assemble(("Where the time went", "bold"), (f"  {side_by_side}", "dim"))
    grid = Table.grid(padding=(0, 2))
    bar_width = BAR_WIDTH if width >= 100 else NARROW_BAR_WIDTH
    for column_width in (max(map(len, TIME_HELP)), bar_width, len("100 %"), len("10 min 00 s")):
        right = column_width not in (bar_width, max(map(len, TIME_HELP)))
        grid.add_column(no_wrap=True, min_width=column_width, justify="right" if right else "left")
    grid.add_column(no_wrap=True, overflow="ellipsis")
    shown = [part for part in summary.time if part.share >= SMALL_SHARE]
    largest = max((part.share for part in shown), default=1.0)
    for part in shown:
        bar = ("█" if blocks else "#") * max(1, round(part.share / largest * bar_width))
        grid.add_row(
            part.name,
            Text(bar, style="dim" if part.name == IDLE else "cyan"),
            f"{part.share * 100:.0f} %",
            words.duration(part.seconds),
            Text(TIME_HELP.get(part.name, ""), style="dim"),
        )
    return Group(head, Padding(grid, INDENT, expand=False))


def commands(pairs: Sequence[tuple[str, str]]) -> RenderableType:
    """Commands to go on with, and what each is for."""
    grid = Table.grid(padding=(0, 3))
    for command, purpose in pairs:
        grid.add_row(Text(command, no_wrap=True), Text(purpose, style="dim"))
    return Padding(grid, INDENT, expand=False)


def next_steps(run: Run, place: str = "") -> RenderableType:
    """What one does with a finished run.

    Args:
        place: what commands need at their end to work in the same place.
    """
    of_pictures = len(run.data_facts.get("x_shape", ())) > 1
    return commands(
        [
            (f"lambdafit runs show {run.run_id}{place}", "every round and worker"),
            *([(f"lambdafit predict {run.run_id} IMAGE{place}", "try it on a picture")] if of_pictures else []),
            (f"lambdafit export {run.run_id} --to keras{place}", "take the model along"),
        ]
    )


def resume_steps(run: Run, place: str = "") -> RenderableType:
    """How a run that did not finish goes on; `place` as for `next_steps`."""
    option = {"budget": " --max-cost-usd MORE", "deadline": " --deadline-s SECONDS"}.get(run.reason, "")
    return commands(
        [
            (f"lambdafit runs resume {run.run_id}{option}{place}", "go on from its checkpoint"),
            (f"lambdafit runs show {run.run_id}{place}", "what it did"),
        ]
    )


def can_draw_blocks(console: Console) -> bool:
    """Whether bars of block characters come out right."""
    return console.encoding.startswith("utf") and not console.legacy_windows
