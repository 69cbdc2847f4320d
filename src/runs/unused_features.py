"""Features on the shared files that no run names any more: found and removed when runs are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from contracts.ports import SharedFiles
from contracts.records import Run
from training import feature_blocks
from training.feature_blocks import FOLDER, backbone_folder

MOST_RUNS = 10_000
"""Of a place. Where there may be more, nothing is removed."""


def remove_unused(files: SharedFiles, runs: Callable[[], Sequence[Run]]) -> list[str]:
    """Remove the folders of features that no run names.

    Others may be at work, and a run may begin at any moment: so a folder is first hidden from `prepare`, then the
    runs are looked at once more, and what one of them has found before is put back.

    Args:
        runs: all there are, read anew at each call; those that are about to go left out.
    Returns:
        the folders that were removed.
    """
    removed: list[str] = []
    folders = _folders(files)
    for folder in _unnamed(folders, runs()) if folders else []:
        meta = f"{folder}/meta.json"
        content = files.read(meta) if files.exists(meta) else b""
        files.remove(meta)
        goes = False
        try:
            goes = bool(_unnamed([folder], runs()))
        finally:
            if content and not goes:
                files.write(meta, [content], durable=True)
        if goes:
            files.remove(folder)
            removed.append(folder)
    return removed


def tidy(files: SharedFiles) -> None:
    """Remove what killed executions have left beside features that are kept. For who knows that nobody is at work."""
    for folder in _folders(files):
        if feature_blocks.joined_features(files, folder) is not None:
            feature_blocks.remove_blocks(files, folder)
        feature_blocks.remove_temporary_files(files, f"{folder}/blocks")
        feature_blocks.remove_temporary_files(files, folder)


def _folders(files: SharedFiles) -> list[str]:
    return [f"{FOLDER}/{name}" for name in files.names(FOLDER) if feature_blocks.is_folder_name(name)]


def _unnamed(folders: Sequence[str], runs: Sequence[Run]) -> list[str]:
    """Those that no run names; none where that cannot be said."""
    if len(runs) >= MOST_RUNS or any(_may_name_any(run) for run in runs):
        return []
    named = set(_named(runs))
    return [folder for folder in folders if folder not in named]


def _may_name_any(run: Run) -> bool:
    """Whether a run is about to look for features, and nobody knows yet for which."""
    return bool(run.settings.backbone_digest) and not run.data_facts and not run.ended


def _named(runs: Iterable[Run]) -> Iterable[str]:
    """What runs train on, or will once they go on."""
    for run in runs:
        if "folder" in run.feature_facts:
            yield run.feature_facts["folder"]
        elif run.settings.backbone_digest and run.data_facts:
            yield backbone_folder(run.data_facts, run.settings.backbone_digest)
