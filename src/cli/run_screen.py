"""`runs show`: one run in full."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cli import screens
from cli.console import make_table, output
from cli.failure import print_error
from cli.flags import Flags, print_json
from cli.result import answer
from cli.runs_place import open_runs
from contracts.records import RoundRecord, Run
from runs import words
from runs.summary import IDLE, SPAN_ORDER, RunSummary, Tally, load, summarise

MOST_WORKERS = 32


def show_run(name: str, last_rounds: int | None, flags: Flags, *, as_json: bool) -> None:
    """Print a run's settings, rounds, workers, and where its time went.

    Args:
        last_rounds: how many of the rounds; None for all.
    """
    place = open_runs(flags)
    run = place.find(name)
    summary = summarise(load(place.store, place.telemetry, run.run_id), time.time())
    conducted = run.run_id in place.conducted([summary.run])
    if as_json:
        print_json(answer(summary, interrupted=not run.ended and not conducted))
        return
    console = output()
    parts: list[RenderableType] = [screens.headline(summary, conducted=conducted), ""]
    parts += [settings_grid(summary.run, console.width), "", screens.figures(summary, console.width), ""]
    if summary.rounds:
        parts += [rounds_table(summary, last_rounds), ""]
    if any(worker.attempts for worker in summary.workers):
        parts += [workers_table(summary, console.width), ""]
    if summary.kinds:
        parts += [kinds_table(summary), ""]
    if any(part.name != IDLE for part in summary.time):
        parts += [screens.time_chart(summary, console.width, blocks=screens.can_draw_blocks(console)), ""]
    if summary.run.fingerprint:
        parts.append(Text(f"Numerics: {summary.run.fingerprint}", style="dim"))
    console.print(Group(*parts))
    if summary.run.error is not None:
        print_error(summary.run.error)
    if run.status != "FINISHED" and not conducted:
        console.print(screens.resume_steps(summary.run, flags.place.suffix))


def settings_grid(run: Run, width: int) -> RenderableType:
    """What was asked of it, in as many columns as fit."""
    settings = run.settings
    outer = f"{settings.outer.kind} {settings.outer.learning_rate:g}"
    if settings.outer.kind in ("momentum", "nesterov"):
        outer += f"/{settings.outer.momentum:g}"
    pairs = [
        ("workers", str(settings.workers)),
        ("batch a worker", str(settings.batch_size)),
        ("sync", settings.sync),
        *([("updates", settings.update_dtype)] if settings.update_dtype != "float32" else []),
        ("outer", outer),
        ("seed", str(settings.seed)),
        ("side by side", str(settings.concurrency)),
        ("threads each", str(settings.threads)),
        ("time limit", words.duration(settings.time_limit_s)),
        ("budget", words.usd(settings.max_cost_usd)),
        *((name, f"{value}") for name, value in settings.recipe_settings.items()),
    ]
    columns = 3 if width >= 100 else 2
    grid = Table.grid(padding=(0, 2))
    for row in range(-(-len(pairs) // columns)):
        cells: list[Text] = []
        for name, value in pairs[row * columns : (row + 1) * columns]:
            cells += [Text(name, style="dim"), Text(f"{value}   ")]
        grid.add_row(*cells)
    return Padding(grid, screens.INDENT, expand=False)


def rounds_table(summary: RunSummary, last_rounds: int | None) -> RenderableType:
    """The last rounds, one a line."""
    shown: Sequence[RoundRecord] = summary.rounds if last_rounds is None else summary.rounds[-last_rounds:]
    left_out = len(summary.rounds) - len(shown)
    title = "Rounds" if not left_out else f"Rounds (the last {len(shown)} of {len(summary.rounds)}; --rounds all)"
    columns = ("round", "epoch", "examples", "loss", "val loss", "val accuracy", "time", "cost")
    table = make_table(*columns, numbers=columns, title=title)
    for record in shown:
        seconds = summary.round_s.get(record.round_index)
        again = f" g{record.generation}" if record.generation > 1 else ""
        table.add_row(
            f"{record.round_index}{again}",
            f"{record.epochs:.2f}",
            f"{record.examples:,}",
            words.maybe(record.metrics.get("train/loss")),
            words.maybe(record.metrics.get("val/loss")),
            words.maybe(record.metrics.get("val/accuracy")),
            "–" if seconds is None else words.duration(seconds),
            words.usd(record.cost_usd),
        )
    return table


def workers_table(summary: RunSummary, width: int) -> RenderableType:
    """What each worker did and where its seconds went."""
    rows = [(str(index), worker) for index, worker in enumerate(summary.workers[:MOST_WORKERS])]
    hidden = len(summary.workers) - len(rows)
    title = "Workers" + (f" (the first {MOST_WORKERS} of {len(summary.workers)})" if hidden > 0 else "")
    return _tally_table("worker", rows, title, width)


def kinds_table(summary: RunSummary) -> RenderableType:
    """What each kind of task took."""
    numbers = ("attempts", "hand-overs", "failed", "refused", "time", "cost")
    table = make_table("task", *numbers, numbers=numbers, title="Tasks")
    for kind, tally in summary.kinds.items():
        table.add_row(
            kind, f"{tally.attempts:,}", f"{tally.pauses:,}", _marked(tally.failures), _marked(tally.superseded),
            words.duration(tally.function_s), words.usd(tally.cost_usd),
        )  # fmt: skip
    return table


def _tally_table(head: str, rows: list[tuple[str, Tally]], title: str, width: int) -> RenderableType:
    names = [name for name in SPAN_ORDER if any(name in tally.span_s for _, tally in rows)]
    if width < 100:
        names = [name for name in names if name in ("load", "evaluate", "compute", "write")]
    numbers = [head, "attempts", "hand-overs", "failed", "steps/s", "examples", *names]
    table = make_table(*numbers, numbers=tuple(numbers), title=title)
    for name, tally in rows:
        table.add_row(
            name,
            f"{tally.attempts:,}",
            f"{tally.pauses:,}",
            _marked(tally.failures + tally.superseded),
            "–" if tally.steps_per_s is None else f"{tally.steps_per_s:,.0f}",
            f"{tally.examples:,}",
            *(words.duration(tally.span_s[name]) if name in tally.span_s else "–" for name in names),
        )
    return table


def _marked(number: int) -> Text:
    return Text(f"{number:,}", "red" if number else "")
