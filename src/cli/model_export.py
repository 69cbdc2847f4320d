"""`export`: a run's model as a file, or its curves as TensorBoard events."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from cli.console import messages, output
from cli.flags import Flags
from cli.model_screens import check_ready, waiting
from cli.runs_place import open_runs
from contracts.errors import DiskFull, InvalidSetting

TENSORBOARD = "tensorboard"


def export_run(name: str, to_format: str, target: Path | None, flags: Flags, *, replace: bool) -> None:
    """Put a run's model or curves where the user wants them, whole or not at all.

    Args:
        target: None for a name in the current folder.
        replace: whether something may lie there.
    """
    place = open_runs(flags)
    run = place.find(name)
    target = target or Path(f"{run.run_id}-{TENSORBOARD}" if to_format == TENSORBOARD else f"{run.run_id}.{to_format}")
    if target.exists() and not replace:
        raise InvalidSetting("--output", f"{target} exists already", "a new name", advice="`--force` replaces it.")
    if not target.absolute().parent.is_dir():
        raise InvalidSetting("--output", f"there is no folder {target.absolute().parent}", advice="Make it first.")
    check_ready(run)
    with waiting(flags):
        place.export(run, to_format, target, flags)
    if to_format == TENSORBOARD:
        messages().print(f"Look at them: tensorboard --logdir {target}")
    output().print(str(target))


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
