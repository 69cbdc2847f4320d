"""`logs`: what the functions of a run printed."""

from __future__ import annotations

import time

import click

from cli.failure import echo_error
from cli.flags import Flags
from cli.runs_place import open_runs
from contracts.errors import InvalidSetting


def show_logs(name: str, worker: int | None, flags: Flags, *, follow: bool) -> None:
    """Print a run's logs.

    Args:
        worker: only this worker's.
        follow: go on while the run is being conducted.
    """
    place = open_runs(flags)
    run = place.find(name)
    if worker is not None and worker >= run.settings.workers:
        raise InvalidSetting("--worker", str(worker), f"0 to {run.settings.workers - 1}")
    reader = place.logs(run, worker)
    printed = 0
    at_rest_since = time.monotonic()
    while True:
        news = reader.news(to_the_end=not follow)
        for who, line in news:
            click.echo(f"{click.style(who, fg='cyan')}  {line}")
        printed += len(news)
        now = time.monotonic()
        if news or (follow and place.conducted([place.store.load_run(run.run_id)])):
            at_rest_since = now
        if not follow or now - at_rest_since > reader.at_rest_s:
            break
        time.sleep(reader.poll_s)
    if not printed:
        who = f"Worker {worker} of run" if worker is not None else "Run"
        echo_error(f"{who} {run.run_id} has printed nothing.")
