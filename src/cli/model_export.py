"""`export`: a run's model as a file, or its curves as TensorBoard events."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from cli.console import messages, output
from cli.flags import Flags
from cli.home_access import RunFolder, open_runs
from cli.model_screens import ask
from contracts.errors import DiskFull, InvalidSetting
from contracts.records import Run
from runs.paths import model_path

TENSORBOARD = "tensorboard"


def export_run(name: str, to_format: str, target: Path | None, flags: Flags, *, replace: bool) -> None:
    """Put a run's model or curves where the user wants them, whole or not at all.

    Args:
        target: None for a name in the current folder.
        replace: whether something may lie there.
    """
    folder = open_runs()
    run = folder.find(name)
    target = target or Path(f"{run.run_id}-{TENSORBOARD}" if to_format == TENSORBOARD else f"{run.run_id}.{to_format}")
    if target.exists() and not replace:
        raise InvalidSetting("--output", f"{target} exists already", "a new name", advice="`--force` replaces it.")
    if not target.absolute().parent.is_dir():
        raise InvalidSetting("--output", f"there is no folder {target.absolute().parent}", advice="Make it first.")
    if to_format == TENSORBOARD:
        _made_for_us(folder, run, {"task": "curves"}, secrets.token_hex(4), target, flags)
        messages().print(f"Look at them: tensorboard --logdir {target}")
    elif run.status == "FINISHED" and folder.files.exists(model_path(run.run_id, to_format)):
        put(Path(folder.files.local_path(model_path(run.run_id, to_format))), target)
    else:
        event = {"task": "export", "format": to_format}
        _made_for_us(folder, run, event, f"{secrets.token_hex(4)}.{to_format}", target, flags)
    output().print(str(target))


def _made_for_us(folder: RunFolder, run: Run, event: dict[str, str], name: str, target: Path, flags: Flags) -> None:
    """Have the predict function make it, take it, and remove the function's copy."""
    answer = ask(run, {**event, "name": name}, folder.home, flags)
    try:
        put(Path(folder.files.local_path(answer["path"])), target)
    finally:
        folder.files.remove(answer["path"])


def put(source: Path, target: Path) -> None:
    """Copy a file or folder: to a name beside the target first, so that the target is whole or not there."""
    beside = target.absolute().with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    copy: Callable[..., object] = shutil.copytree if source.is_dir() else shutil.copyfile
    try:
        copy(source, beside)
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(beside, target)  # noqa: PTH105 - the one call that says what it does
    except shutil.Error as error:  # of copytree: it has a list of what went wrong
        raise DiskFull(str(target), str(error.args[0][0][2]), "room for the files") from error
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)
