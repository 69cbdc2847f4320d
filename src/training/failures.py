"""Exceptions that come out of a recipe's own code, told apart from ours and brought down to one line."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from contracts.errors import LambdafitError, OutOfMemory, RecipeFailed

_LONGEST_MESSAGE = 400


@contextmanager
def recipe_code(file: str, doing: str) -> Iterator[None]:
    """Turns what the block raises into a numbered error that names the recipe's line.

    Args:
        file: the recipe's source file.
        doing: what was going on, such as "building the model".
    Raises:
        RecipeFailed: whatever was raised, with its type, message and line.
        OutOfMemory: TensorFlow could not allocate a tensor.
    """
    try:
        yield
    except LambdafitError:
        raise
    except MemoryError as error:
        raise OutOfMemory(doing, _first_lines(error)) from error
    except (Exception, SystemExit) as error:  # a recipe that calls sys.exit() must not end the function
        if type(error).__name__ == "ResourceExhaustedError":
            raise OutOfMemory(doing, _first_lines(error)) from error
        line = _line_in(file, error)
        raise RecipeFailed(
            line or file or "recipe", f"{doing}: {type(error).__name__}: {_first_lines(error)}"
        ) from error


def code_file(function: Callable[..., Any]) -> str:
    """The file that a function was written in; empty for one that has no Python code."""
    code = getattr(function, "__code__", None)
    return str(code.co_filename) if code is not None else ""


def _line_in(file: str, error: BaseException) -> str:
    """`file:line` of the innermost frame in the recipe's file; empty where no frame is in it."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return f"{file}:{error.lineno}"
    trace: TracebackType | None = error.__traceback__
    lines = [frame.lineno for frame in traceback.extract_tb(trace) if frame.filename == file]
    return f"{file}:{lines[-1]}" if lines else ""


def _first_lines(error: BaseException) -> str:
    """The message without TensorFlow's graph dump, on one line."""
    text = str(error).split("\n\nOriginal stack trace")[0].split("\n\t [[")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("File ", "Detected at node", "Graph execution error"))]
    message = " ".join(kept or lines).rstrip(".")
    return message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 1] + "…"
