"""Questions that are answered in a process of their own: `python -m MODULE`.

A recipe's own code may import TensorFlow, which must not weigh on the caller; may print, which must not reach the
answer; and may take its process along. The question is one JSON object on the standard input, the answer one on what
was the standard output.
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from contracts.error_catalogue import error_from_record
from contracts.errors import ErrorRecord, LambdafitError

SOURCE_FOLDER = Path(__file__).resolve().parents[1]
LONGEST_OUTPUT = 2_000


class _Answer(msgspec.Struct, omit_defaults=True):
    """What the process says: a value, or an error with its traceback for people."""

    value: Any = None
    error: ErrorRecord | None = None
    trace: str = ""


def ask[T](
    module: str,
    question: msgspec.Struct,
    answer: type[T],
    died: Callable[[str], LambdafitError],
    *,
    shows_progress: bool = False,
) -> T:
    """What `module` answers to a question.

    Args:
        died: makes the error where the process ended without an answer, from how it ended.
        shows_progress: its standard error goes to the caller's; otherwise it is kept for the notes of an error.
    Raises:
        LambdafitError: the process raised one.
    """
    process = subprocess.run(  # noqa: S603 - this very Python, and no shell
        [sys.executable, "-P", "-m", module],
        input=msgspec.json.encode(question),
        stdout=subprocess.PIPE,
        stderr=None if shows_progress else subprocess.PIPE,
        env=_variables(),
        check=False,
    )
    printed = (process.stderr or b"").decode(errors="replace").strip()[-LONGEST_OUTPUT:]
    try:
        said = msgspec.json.decode(process.stdout, type=_Answer)
        if said.error is None:
            return msgspec.convert(said.value, answer)
    except msgspec.MsgspecError:
        error = died(f"its process ended with exit code {process.returncode}")
        error.add_note(printed)
        raise error from None
    failed = error_from_record(said.error)
    failed.add_note("\n".join(part for part in (said.trace, printed) if part))
    raise failed


def answer[Q](question: type[Q], work: Callable[[Q], Any]) -> NoReturn:
    """In that process: answer and leave at once. Nothing that a recipe started may hold the process up."""
    answer_file = os.dup(1)
    os.dup2(2, 1)
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=question)
    try:
        said = _Answer(value=work(asked))
    except LambdafitError as error:
        said = _Answer(error=error.record(), trace=traceback.format_exc())
    with open(answer_file, "wb") as stream:  # noqa: PTH123 - a descriptor, not a path
        stream.write(msgspec.json.encode(said))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _variables() -> dict[str, str]:
    path = os.pathsep.join(part for part in (str(SOURCE_FOLDER), os.environ.get("PYTHONPATH", "")) if part)
    return os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3")}
