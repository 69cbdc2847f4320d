"""The program as a whole: help, exit codes of whatever happens, and what is imported when."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from cli.main import main

SOURCE = Path(__file__).parents[3] / "src"


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("path", list(every_command(main)))
def test_every_help_ends_with_an_example(invoke: Any, path: tuple[str, ...]) -> None:
    result = invoke(*path, "--help")
    assert result.exit_code == 0
    assert f"  lambdafit {' '.join(path)}" in result.stdout.split("Example:")[1]
    assert "--debug" in result.stdout


def test_the_help_lists_every_command_on_one_line_each(invoke: Any) -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for name in main.commands:
        (line,) = [line for line in result.stdout.splitlines() if line.startswith(f"  {name} ")]
        assert not line.endswith("...")


def test_the_version(invoke: Any) -> None:
    assert invoke("--version").stdout.startswith("lambdafit 0.")


def test_help_imports_nothing_that_takes_time() -> None:
    code = (
        "import sys, cli.main\n"
        "try: cli.main.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'rich', 'sqlite3', 'msgspec', 'tensorflow', 'keras', 'sklearn', 'psutil', 'xxhash'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_train_never_imports_tensorflow_here() -> None:
    code = (
        "import sys, cli.train_run, cli.conduct, cli.final_screen, cli.run_screen, cli.model_screens, cli.doctor\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'scipy', 'pooch', 'requests'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True)
    assert done.stderr.strip() == ""


# --- whatever happens --------------------------------------------------------------------------------------


def raising(error: BaseException) -> Any:
    def command(*_arguments: object, **_options: object) -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs.db"), 1, "E303 DiskFull: runs.db"),
        (OSError(errno.EROFS, "Read-only file system", "x"), 3, "E302 HomeNotWritable: x: Read-only file system"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 3, "E302 HomeNotWritable: x"),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (ZeroDivisionError("division by zero"), 1, "Unexpected ZeroDivisionError: division by zero"),
        (OSError(errno.EIO, "Input/output error"), 1, "Unexpected OSError"),
    ],
)
def test_every_end_is_one_screen(
    invoke: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    monkeypatch.setattr("cli.runs_list.show_list", raising(error))
    result = invoke("runs", "list")
    assert result.exit_code == code
    assert text in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("arguments", [["--debug", "runs", "list"], ["runs", "list", "--debug"]])
def test_debug_shows_the_traceback(invoke: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.setattr("cli.runs_list.show_list", raising(ZeroDivisionError("division by zero")))
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "--debug" not in result.stderr


def test_an_unexpected_error_tells_of_debug(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.runs_list.show_list", raising(ZeroDivisionError("division by zero")))
    assert "--debug" in invoke("runs", "list").stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "runs", "list"],
        env={"PYTHONPATH": str(SOURCE), "LAMBDAFIT_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait()


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_errors_are_red_on_a_terminal_unless_asked_not_to_be(variables: dict[str, str], coloured: bool) -> None:
    reading, writing = os.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "train", "nothing"],
        env={"PYTHONPATH": str(SOURCE), "TERM": "xterm", **variables},
        stderr=writing,
    )
    os.close(writing)
    shown = os.read(reading, 10_000)
    os.close(reading)
    assert done.returncode == 3
    assert b"E101 UnknownRecipe:" in shown
    assert (b"\x1b[31m" in shown) is coloured
