"""Every way a command can fail, as one screen and an exit code."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import textwrap
import traceback

import click

from cli.flags import Flags, print_json
from contracts.errors import DiskFull, ErrorRecord, HomeNotWritable, LambdafitError

EXIT_UNEXPECTED = 1
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR})


def report_failure(error: BaseException, flags: Flags) -> int:
    """Say what went wrong, on one screen; with `--debug` after the traceback.

    Returns:
        the exit code.
    """
    if isinstance(error, BrokenPipeError):
        # Whoever read the output has enough. Python would complain again when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        click.echo("Interrupted.", err=True)
        return EXIT_INTERRUPTED
    if flags.debug:
        click.echo("".join(traceback.format_exception(error)).rstrip(), err=True)
    record = as_record(error)
    if record is None:
        echo_error(click.style(f"Unexpected {type(error).__name__}:", fg="red", bold=True) + f" {error}")
        if not flags.debug:
            echo_error("This is a mistake in lambdafit. The same command with `--debug` shows where it happened.")
        return EXIT_UNEXPECTED
    print_error(record)
    if flags.json_keys is not None:
        print_json(dict.fromkeys(flags.json_keys) | {"error": error_dict(record)})
    return record.exit_code


def as_record(error: BaseException) -> ErrorRecord | None:
    """The numbered error that this is, if it is one: the operating system's about disk and permissions, and AWS's."""
    if isinstance(error, LambdafitError):
        return error.record()
    if type(error).__module__.partition(".")[0] in ("boto3", "botocore"):
        from engines.aws_stack.account import numbered

        return numbered(error, "AWS").record()
    if not isinstance(error, OSError):
        return None
    where, problem = str(error.filename or "a file"), error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(where, f"the disk is full ({problem})", "room for the file").record()
    if error.errno in NOT_WRITABLE:
        return HomeNotWritable(where, problem, "a file that may be used").record()
    return None


def print_error(record: ErrorRecord) -> None:
    """`E203 ShapeMismatch: …` in red, and what to do about it."""
    head = f"{record.number} {record.name}:"
    text = folded(f"{head} {record.message}")
    echo_error(click.style(head, fg="red", bold=True) + text.removeprefix(head))
    echo_error(folded(record.advice))


def folded(text: str) -> str:
    """The text with its lines broken between words on a terminal; as it is where a program reads it."""
    if not sys.stderr.isatty():
        return text
    width = shutil.get_terminal_size().columns
    lines = (
        textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""] for line in text.splitlines()
    )
    return "\n".join(part for parts in lines for part in parts)


def echo_error(text: str) -> None:
    """A line on the standard error; in colour only where the user wants colours."""
    click.echo(text, err=True, color=False if os.environ.get("NO_COLOR") else None)


def error_dict(record: ErrorRecord | None) -> dict[str, str] | None:
    """As the JSON answers hold it."""
    if record is None:
        return None
    return {"number": record.number, "name": record.name, "message": record.message, "advice": record.advice}
