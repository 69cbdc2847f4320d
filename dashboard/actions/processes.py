"""A command in a process of its own: started without a shell, waited for, ended if it hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import IO, NamedTuple

GRACE_S = 5.0
"""So long a command may take to leave by itself: one that starts a run takes the run's process along."""


class Finished(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    output: str
    errors: str
    hung: bool = False


Runner = Callable[[Sequence[str], Mapping[str, str], float], Finished]
"""Runs a command line in an environment for at most so many seconds."""


def run_process(arguments: Sequence[str], environment: Mapping[str, str], limit_s: float) -> Finished:
    """Run a program to its end.

    Its output goes to files, not pipes: a run that it leaves behind in the background must not keep this waiting.
    It leads a process group of its own, so that whoever ends the dashboard in a terminal does not end it.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603 - this very program, and no shell
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=dict(environment),
            start_new_session=True,
        )
        hung = False
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            hung = True
        finally:
            _end(process)
        return Finished(process.returncode, _text(output), _text(errors), hung)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have the process gone, gently if it can be. Nothing where it has ended."""
    for how in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.kill(process.pid, how)
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            continue


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
