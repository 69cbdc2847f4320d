"""The home on this machine, and its runs."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.flags import Flags
from cli.runs_place import ALL_RUNS, LogReader, find_run
from contracts.errors import HomeInUse, HomeNotWritable, LambdafitError, RunNotFound
from contracts.records import Run
from engines.home import Home, HomeLock
from runs import unused_features
from runs.paths import model_path, run_folder
from stores.shared_files import FolderFiles
from stores.sqlite import SqliteStore
from training.feature_blocks import FOLDER as FEATURES_FOLDER
from training.weights import FOLDER as WEIGHTS_FOLDER
from training.weights import WEIGHTS

if TYPE_CHECKING:
    from runs.services import Services

DEFAULT_HOME = ".lambdafit"
RECIPES = "recipes"


class RunFolder:
    """Implements `cli.runs_place.Runs` for a home. Nothing is made where there is nothing."""

    follow_s = 0.0

    def __init__(self, home: Home) -> None:
        environment = home.environment()
        self.home = home
        self.exists = environment.store_file.is_file()
        self.store = SqliteStore(environment.store_file)
        self.telemetry = self.store
        self.files = FolderFiles(environment.shared_folder)

    def runs(self, limit: int = ALL_RUNS) -> list[Run]:
        """See `Runs.runs`; none where there is no home yet."""
        return list(self.store.list_runs(limit)) if self.exists else []

    def find(self, name: str) -> Run:
        """See `Runs.find`."""
        place = f"LAMBDAFIT_HOME {self.home.folder}" if name == "latest" else str(self.home.folder)
        return find_run(name, place, self._load, self.runs)

    def conducted(self, runs: Sequence[Run]) -> frozenset[str]:
        """See `Runs.conducted`: that which holds the home's lock works on one run."""
        conductor = HomeLock(self.home).held_by_other() if runs else ""
        return frozenset(run.run_id for run in runs if _conducts(conductor, run.run_id))

    def services(self) -> Services:
        """See `Runs.services`."""
        from handlers.wiring import NoInvoker, SystemClock, SystemRandomness
        from runs.services import Services

        return Services(self.store, self.telemetry, self.files, NoInvoker(), SystemClock(), SystemRandomness())

    def ask(self, run: Run, event: Mapping[str, Any], flags: Flags) -> dict[str, Any]:
        """See `Runs.ask`: the function runs in an environment of its own."""
        from cli import function_calls
        from engines.local import LocalSettings

        local = LocalSettings.from_environment(os.environ)
        answer: dict[str, Any] = function_calls.call(
            function_calls.PREDICT,
            {"run_id": run.run_id, **event},
            self.home,
            local,
            threads=run.settings.threads,
            show_log=flags.debug,
        )
        return answer

    def predict(self, run: Run, images: Sequence[Path], flags: Flags) -> dict[str, Any]:
        """See `Runs.predict`: the function opens the pictures by itself."""
        return self.ask(run, {"task": "predict", "images": [str(image) for image in images]}, flags)

    def export(self, run: Run, to_format: str, target: Path, flags: Flags) -> None:
        """See `Runs.export`: a finished run's model lies ready; anything else is made and its copy removed."""
        from cli.model_export import TENSORBOARD, put

        if to_format != TENSORBOARD and run.status == "FINISHED":
            ready = model_path(run.run_id, to_format)
            if self.files.exists(ready):
                put(Path(self.files.local_path(ready)), target)
                return
        name = secrets.token_hex(4)
        curves = to_format == TENSORBOARD
        event = {"task": "curves"} if curves else {"task": "export", "format": to_format}
        answer = self.ask(run, event | {"name": name if curves else f"{name}.{to_format}"}, flags)
        try:
            put(Path(self.files.local_path(answer["path"])), target)
        finally:
            self.files.remove(answer["path"])

    def logs(self, run: Run, worker: int | None) -> LogReader:
        """See `Runs.logs`."""
        from cli.home_logs import HomeLogs

        return HomeLogs(self.home.log_folder(run.run_id), self.store, run.run_id, worker)

    def check_at_rest(self, run_ids: Sequence[str]) -> None:
        """See `Runs.check_at_rest`."""
        conductor = HomeLock(self.home).held_by_other()
        for run_id in run_ids:
            if _conducts(conductor, run_id):
                advice = f"Stop it first: lambdafit runs stop {run_id}"
                received = f"it is being trained by {conductor}"
                raise HomeInUse(f"run {run_id}", received, "one at rest", advice=advice)

    def has_left_over(self, run_id: str) -> bool:
        """See `Runs.has_left_over`."""
        return self.files.exists(run_folder(run_id)) or self.home.log_folder(run_id).exists()

    def remove(self, run_id: str) -> None:
        """See `Runs.remove`."""
        self.files.remove(run_folder(run_id))
        self.files.give_up_spares()  # whoever removes runs wants the room
        shutil.rmtree(self.home.log_folder(run_id), ignore_errors=True)
        if self.exists:
            self.store.delete_run(run_id)
            self._remove_unnamed()

    def _remove_unnamed(self) -> None:
        """What belongs to no run: recipes, weights and features of removed ones, temporary files of a crashed engine.

        An engine at work has temporary files, and may be about to name a recipe: then a later removal takes them.
        """
        brought = [f"{folder}/{name}" for folder in (RECIPES, WEIGHTS_FOLDER) for name in self.files.names(folder)]
        if not brought and not self.files.names(FEATURES_FOLDER) and not self.home.temporary_folder.exists():
            return
        lock = HomeLock(self.home)
        try:
            lock.acquire("removal of runs")
            self.home.remove_temporary_files()
            unused_features.tidy(self.files)
            unused_features.remove_unused(self.files, self.runs)
            runs = self.runs()
            named = {run.settings.recipe for run in runs} | {run.settings.recipe_settings.get(WEIGHTS) for run in runs}
            beginnings = {str(path).partition(".")[0] for path in named}  # a mark beside weights begins as these do
            for path in brought:
                if path.partition(".")[0] not in beginnings:
                    self.files.remove(path)
        except LambdafitError:
            return  # the run is removed all the same
        finally:
            lock.release()

    def _load(self, run_id: str) -> Run | None:
        try:
            return self.store.load_run(run_id) if self.exists else None
        except RunNotFound:
            return None


def _conducts(conductor: str, run_id: str) -> bool:
    """Whether what holds a home's lock, as it calls itself, works on this run."""
    return conductor.endswith(f"run {run_id}")


def current_home() -> Home:
    """The home that LAMBDAFIT_HOME names."""
    return Home(Path(os.environ.get("LAMBDAFIT_HOME") or DEFAULT_HOME))


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
