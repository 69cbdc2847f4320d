"""Folders for their owner alone, whatever the umask says."""

from __future__ import annotations

from pathlib import Path

FOLDER_MODE = 0o700


def make_private_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing. `mkdir(parents=True)` would give those the default mode.

    Raises:
        OSError: it cannot be made, or a file lies there.
    """
    try:
        folder.mkdir(mode=FOLDER_MODE)
    except FileNotFoundError:
        make_private_folder(folder.parent)
        make_private_folder(folder)
    except FileExistsError:
        if not folder.is_dir():
            raise
