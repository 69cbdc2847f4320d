"""Training in the background: a process of its own session that does what the command line says, without `--detach`.

It speaks to the terminal until the run goes: what is wrong with the input, or with the home, is seen as always.
Then it tells the run's id through a pipe and prints into the run's logs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click

from cli.failure import EXIT_UNEXPECTED, echo_error
from cli.flags import Flags, print_json
from runs.own_process import SOURCE_FOLDER

PROGRAM = ("-m", "cli.main")
LOG_NAME = "conductor.log"


def start_detached(flags: Flags) -> int:
    """Start the process, and wait until its run goes or it has given up.

    Returns:
        the exit code.
    """
    reading, writing = os.pipe()
    arguments = [argument for argument in flags.arguments if argument != "--detach"]
    process = subprocess.Popen(  # noqa: S603 - this very program, and no shell
        [sys.executable, "-P", *PROGRAM, *arguments, "--announce", str(writing)],
        stdin=subprocess.DEVNULL,
        pass_fds=[writing],
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": _python_path()},
    )
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            announced = pipe.read()
    except KeyboardInterrupt:
        process.terminate()
        raise
    if not announced:
        # It has said why; only a crash has not.
        code = process.wait()
        return code if code > 0 else EXIT_UNEXPECTED
    told = json.loads(announced)
    if flags.json_keys is not None:
        print_json(dict.fromkeys(flags.json_keys) | {"run_id": told["run_id"], "status": "RUNNING"})
        return 0
    click.echo(told["run_id"])
    echo_error(f"It trains in the background, process {process.pid}.")
    echo_error(f"  lambdafit watch {told['run_id']}\n  lambdafit runs stop {told['run_id']}")
    return 0


def announce_run(pipe: int | None, run_id: str, log_folder: Path) -> None:
    """In the background process: tell that the run goes, and let go of the terminal. Nothing without a pipe."""
    if pipe is None:
        return
    log = os.open(log_folder / LOG_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    for standard in (1, 2):
        os.dup2(log, standard)
    os.close(log)
    with os.fdopen(pipe, "wb") as stream:
        stream.write(json.dumps({"run_id": run_id}).encode())


def _python_path() -> str:
    return os.pathsep.join(part for part in (str(SOURCE_FOLDER), os.environ.get("PYTHONPATH", "")) if part)
