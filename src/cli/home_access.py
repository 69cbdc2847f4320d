"""The home, its run store, and which run a user means by RUN."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from contracts.errors import HomeNotWritable, InvalidRunId, RunNotFound
from contracts.identifiers import RUN_ID
from contracts.records import Run
from engines.home import Home, HomeLock
from stores.shared_files import FolderFiles
from stores.sqlite import SqliteStore

DEFAULT_HOME = ".lambdafit"
NEWEST = "latest"
PREFIX = re.compile(r"(r-)?[0-9a-z]{1,32}|r-")
ALL_RUNS = 1_000_000
MAX_CANDIDATES = 8
NO_RUNS = "No runs yet. Start one: lambdafit train digits-mlp"


class RunFolder:
    """A home as commands use it that look at runs: nothing is made where there is nothing."""

    def __init__(self, home: Home) -> None:
        environment = home.environment()
        self.home = home
        self.exists = environment.store_file.is_file()
        self.store = SqliteStore(environment.store_file)
        self.files = FolderFiles(environment.shared_folder)

    def runs(self, limit: int = ALL_RUNS) -> list[Run]:
        """The newest runs, newest first; none where there is no home yet."""
        return list(self.store.list_runs(limit)) if self.exists else []

    def find(self, name: str) -> Run:
        """The run that a user means: by its id, the unique beginning of one, or `latest`.

        Raises:
            InvalidRunId: it cannot be a run's name, or several begin so.
            RunNotFound: there is none.
        """
        if name == NEWEST:
            newest = self.runs(limit=1)
            if not newest:
                raise RunNotFound(f"LAMBDAFIT_HOME {self.home.folder}", "it has no runs", advice=NO_RUNS)
            return newest[0]
        if not PREFIX.fullmatch(name):
            raise InvalidRunId("run", repr(name), "an id such as r-7f3a9c01d2, the beginning of one, or latest")
        if RUN_ID.fullmatch(name) and self.exists:
            try:
                return self.store.load_run(name)
            except RunNotFound:
                pass
        begins = name if name.startswith("r-") else f"r-{name}"
        found = [run for run in self.runs() if run.run_id.startswith(begins)]
        if not found:
            raise RunNotFound(f"run {name}", f"no run in {self.home.folder} is called or begins so")
        if len(found) > 1:
            names = ", ".join(run.run_id for run in found[:MAX_CANDIDATES])
            more = f" and {len(found) - MAX_CANDIDATES} more" if len(found) > MAX_CANDIDATES else ""
            raise InvalidRunId("run", f"{name!r} is the beginning of {len(found)} runs: {names}{more}", "a unique one")
        return found[0]

    def conductor(self) -> str:
        """What works in this home just now, as it calls itself; empty if nothing does."""
        return HomeLock(self.home).held_by_other()

    def is_conducted(self, run_id: str) -> bool:
        """Whether an engine works on this run just now."""
        return conducts(self.conductor(), run_id)


def conducts(conductor: str, run_id: str) -> bool:
    """Whether what holds a home's lock, as it calls itself, works on this run."""
    return conductor.endswith(f"run {run_id}")


def current_home() -> Home:
    """The home that LAMBDAFIT_HOME names."""
    return Home(Path(os.environ.get("LAMBDAFIT_HOME") or DEFAULT_HOME))


def open_runs() -> RunFolder:
    """The runs of the current home."""
    return RunFolder(current_home())


def existing_parent(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder


def check_writable(home: Home) -> None:
    """Whether the home could be written to. Nothing is left behind, and no home is made.

    Raises:
        HomeNotWritable: it could not.
    """
    try:
        with tempfile.TemporaryFile(dir=existing_parent(home.folder)):
            pass
    except OSError as error:
        raise HomeNotWritable(f"LAMBDAFIT_HOME {home.folder}", str(error.strerror), "a writable folder") from None
