"""The last screen of `train`, `watch` and `runs resume`."""

from __future__ import annotations

import time

from rich.text import Text

from cli import screens
from cli.console import messages, output
from cli.failure import error_dict, print_error
from cli.flags import Flags, print_json
from cli.result import answer, exit_code
from contracts.errors import ErrorRecord
from contracts.ports import RunStore, Telemetry
from runs.summary import RunSummary, load, summarise


def show_end(store: RunStore, telemetry: Telemetry, run_id: str, flags: Flags, *, interrupted: bool) -> int:
    """Say how a run ended: a table, or an error and how to go on; with `--json` one object.

    Returns:
        the exit code.
    """
    summary = summarise(load(store, telemetry, run_id), time.time())
    run = summary.run
    if run.status == "FINISHED" and flags.json_keys is None:
        _finished(summary, flags.place.suffix)
    elif run.status != "FINISHED":
        _unfinished(summary, flags.place.suffix, interrupted=interrupted)
    if flags.json_keys is not None:
        print_json(answer(summary, interrupted=interrupted))
    return exit_code(run, interrupted=interrupted)


def show_broken_off(store: RunStore, telemetry: Telemetry, run_id: str, flags: Flags, error: ErrorRecord) -> int:
    """Say why the conducting of a run ended before the run: a full disk, a lock that was held for long.

    Returns:
        the exit code.
    """
    print_error(error)
    summary = summarise(load(store, telemetry, run_id), time.time())
    messages().print(screens.resume_steps(summary.run, flags.place.suffix))
    if flags.json_keys is not None:
        print_json(answer(summary, interrupted=True) | {"error": error_dict(error)})
    return error.exit_code


def _finished(summary: RunSummary, place: str) -> None:
    console = output()
    console.print(screens.headline(summary))
    console.print()
    console.print(screens.figures(summary, console.width))
    console.print()
    console.print(screens.time_chart(summary, console.width, blocks=screens.can_draw_blocks(console)))
    if summary.run.fingerprints_mixed:
        console.print(Text("\nFunctions computed with different numerics: the bits may differ next time.", "yellow"))
    console.print()
    console.print(screens.next_steps(summary.run, place))


def _unfinished(summary: RunSummary, place: str, *, interrupted: bool) -> None:
    run = summary.run
    console = messages()
    if run.error is not None:
        print_error(run.error)
    elif interrupted:
        console.print(Text(f"Interrupted in round {run.round_index}. Nothing that was done is lost.", "yellow"))
    console.print(screens.resume_steps(run, place))
