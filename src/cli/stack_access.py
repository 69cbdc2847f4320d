"""The runs of a deployed stack."""

from __future__ import annotations

import base64
import secrets
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.failure import echo_error
from cli.flags import Flags
from cli.place import Place
from cli.runs_place import ALL_RUNS, LogReader, find_run
from contracts.errors import DataCorrupted, DiskFull, InvalidMessage, LambdafitError, RunNotFound
from contracts.ports import RunStore, Telemetry
from contracts.records import Run
from contracts.stack_errors import EventTooLarge, RunAtWork, RunOfOtherStack
from engines.aws import AwsEngine
from engines.aws_stack.account import Account
from runs.services import Services
from training.datasets.npy_reading import checked_member

EXPORTS = "exports"
PREDICT = "predict"
LARGEST_CALL_BYTES = 5_500_000
LARGEST_CURVES_BYTES = 1 << 30
"""Lambda takes 6 MB of JSON in a synchronous call (AWS); base64 adds a third."""


class StackRuns:
    """Implements `cli.runs_place.Runs` for a stack."""

    follow_s = 1.0

    def __init__(self, engine: AwsEngine) -> None:
        self.engine = engine

    @property
    def store(self) -> RunStore:
        """The stack's table."""
        return self.engine.services.store

    @property
    def telemetry(self) -> Telemetry:
        """The stack's table."""
        return self.engine.services.telemetry

    def runs(self, limit: int = ALL_RUNS) -> list[Run]:
        """See `Runs.runs`."""
        return list(self.store.list_runs(limit))

    def find(self, name: str) -> Run:
        """See `Runs.find`."""
        return find_run(name, self.engine.stack.place, self._load, self.runs, missing=RunOfOtherStack)

    def conducted(self, runs: Sequence[Run]) -> frozenset[str]:
        """See `Runs.conducted`: a stack works on every run that has not ended, whether anybody looks or not."""
        return frozenset(run.run_id for run in runs if not run.ended)

    def services(self) -> Services:
        """See `Runs.services`."""
        return self.engine.services

    def ask(self, run: Run, event: Mapping[str, Any], flags: Flags) -> dict[str, Any]:
        """See `Runs.ask`."""
        tell = None if flags.quiet else _tell
        answer = self.engine.functions.call(
            PREDICT, {"run_id": run.run_id, **event}, patience_s=120.0, repeatable=True, tell=tell
        )
        if not isinstance(answer, dict):
            raise InvalidMessage(f"{self.engine.stack.place}, function predict", f"it answers {answer!r}", "an object")
        return answer

    def predict(self, run: Run, images: Sequence[Path], flags: Flags) -> dict[str, Any]:
        """See `Runs.predict`: the pictures travel in the call, as many in one as it takes."""
        found: dict[str, Any] = {}
        for pictures in _batches(images):
            answer = self.ask(run, {"task": "predict", "pictures": pictures}, flags)
            found = answer | {"predictions": [*found.get("predictions", []), *answer["predictions"]]}
        return found

    def export(self, run: Run, to_format: str, target: Path, flags: Flags) -> None:
        """See `Runs.export`: made by the predict function, and taken from the stack's bucket."""
        from cli.model_export import TENSORBOARD, put
        from cli.transfer_bar import TransferBar

        curves = to_format == TENSORBOARD
        name = f"{secrets.token_hex(4)}.{'zip' if curves else to_format}"
        event = {"task": "curves"} if curves else {"task": "export", "format": to_format}
        answer = self.ask(run, event | {"name": name}, flags)
        key, bucket = str(answer.get("key", "")), self.engine.bucket
        if not key.startswith(f"{EXPORTS}/{run.run_id}/"):
            where = f"{self.engine.stack.place}, function predict"
            raise InvalidMessage(where, f"it answers {answer!r}", "the key of an object")
        with tempfile.TemporaryDirectory(prefix="lambdafit-") as folder, TransferBar(flags) as bar:
            file = Path(folder) / name
            bucket.download(key, file, bar.begin(key, bucket.size(key) or 0))
            if curves:
                unpacked = Path(folder) / "curves"
                _unpack(file, unpacked)
                put(unpacked, target)
            else:
                put(file, target)
        bucket.remove(key)

    def logs(self, run: Run, worker: int | None) -> LogReader:
        """See `Runs.logs`."""
        from cli.stack_logs import StackLogs

        return StackLogs(self.engine, run, worker)

    def check_at_rest(self, run_ids: Sequence[str]) -> None:
        """See `Runs.check_at_rest`."""
        for run_id in run_ids:
            run = self._load(run_id)
            if run is not None and not run.ended:
                advice = f"Stop it first: lambdafit runs stop {run_id}"
                raise RunAtWork(f"run {run_id}", f"{self.engine.stack.place} works on it", "one at rest", advice=advice)

    def has_left_over(self, run_id: str) -> bool:
        """See `Runs.has_left_over`: only a function could tell whether files are there, so it is left to try."""
        return True

    def remove(self, run_id: str) -> None:
        """See `Runs.remove`. Logs are kept as long as the stack keeps any.

        A function that was at work when the run was stopped may write after this; a second removal takes that, too.
        """
        event = {"task": "remove", "run_id": run_id}
        answer = self.engine.functions.call(PREDICT, event, patience_s=120.0, repeatable=True)
        exports = list(self.engine.bucket.keys(f"{EXPORTS}/{run_id}/"))
        for key in exports:
            self.engine.bucket.remove(key)
        if not exports and not answer.get("removed") and self._load(run_id) is None:
            raise RunOfOtherStack(f"run {run_id}", f"{self.engine.stack.place} has nothing of it")
        self.store.delete_run(run_id)

    def _load(self, run_id: str) -> Run | None:
        try:
            return self.store.load_run(run_id)
        except RunNotFound:
            return None


def open_stack_runs(place: Place) -> StackRuns:
    """The runs of the stack that the command line names.

    Raises:
        StackNotFound, StackNotReady, StackVersionDiffers, CredentialsMissing, …: it cannot be worked with.
    """
    return StackRuns(open_engine(place))


def open_engine(place: Place) -> AwsEngine:
    """The engine of the stack that the command line names."""
    return AwsEngine.open(Account(place.region, place.profile), place.stack)


def _tell(error: LambdafitError) -> None:
    """A sign of life while AWS gets a function ready."""
    echo_error(f"Waiting for the stack's functions: {error.message.splitlines()[0]}")


def _batches(images: Sequence[Path]) -> list[list[dict[str, str]]]:
    """Pictures as text, so many together as one call takes.

    Raises:
        EventTooLarge: one alone is too large.
    """
    batches: list[list[dict[str, str]]] = []
    room = 0
    for image in images:
        content = base64.b64encode(image.read_bytes()).decode()
        if len(content) > LARGEST_CALL_BYTES:
            received = f"it has {image.stat().st_size / 1e6:.1f} MB"
            expected = f"at most {LARGEST_CALL_BYTES * 3 / 4e6:.1f} MB"
            raise EventTooLarge(str(image), received, expected, advice="Make the picture smaller.")
        if not batches or len(content) > room:
            batches.append([])
            room = LARGEST_CALL_BYTES
        batches[-1].append({"name": str(image), "content": content})
        room -= len(content)
    return batches


def _unpack(archive: Path, folder: Path) -> None:
    """A .zip that the stack has made. Python keeps members with `..` in their names inside the folder.

    Raises:
        DataCorrupted: it is none, or one that would fill the disk.
        DiskFull: there is no room for it.
    """
    try:
        with zipfile.ZipFile(archive) as stream:
            unpacked = sum(checked_member(stream, info.filename).file_size for info in stream.infolist())
            if unpacked > LARGEST_CURVES_BYTES:
                raise ValueError(f"it unpacks to {unpacked} bytes")
            stream.extractall(folder)
    except (zipfile.BadZipFile, KeyError, ValueError, RuntimeError, EOFError, zlib.error) as error:
        raise DataCorrupted(archive.name, f"it cannot be unpacked ({error})", advice="Export it again.") from error
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DiskFull(str(folder), str(error.strerror), "room for the files") from error
