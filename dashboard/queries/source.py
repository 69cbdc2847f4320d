"""Where the runs are that the dashboard shows: a home on this machine, or a deployed stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from contracts.errors import HomeNotWritable, LambdafitError, RunNotFound
from contracts.ports import RunStore, Telemetry
from contracts.records import Run
from contracts.stack_errors import RunOfOtherStack
from dashboard.options import DEFAULT_STACK, Options
from engines.home import Home, HomeLock
from runs.price_list import Architecture
from stores.sqlite import SqliteStore


def _nothing() -> None:
    """There is nothing to close."""


class Source(NamedTuple):
    """One place of runs, as it can be looked at. Nothing here writes.

    Args:
        name: for people: "home .lambdafit", "stack lambdafit, eu-west-1".
        region: whose prices its costs are counted in; empty for the default region's.
        exists: whether there is a run store by now; looking never makes one.
        conducted: the ids of those of these runs that are being worked at just now.
        place, newest_place: how messages name it, as on the command line.
        missing: what is raised where a run is not there.
        readers: how many threads may read side by side.
        close: gives connections back. Called in the thread that reads.
    """

    name: str
    is_cloud: bool
    region: str
    architecture: Architecture
    store: RunStore
    telemetry: Telemetry
    exists: Callable[[], bool]
    conducted: Callable[[Sequence[Run]], frozenset[str]]
    place: str = "the home"
    newest_place: str = "the home"
    missing: type[LambdafitError] = RunNotFound
    readers: int = 1
    close: Callable[[], None] = _nothing


STACK_READERS = 4


def open_source(options: Options) -> Source:
    """The place that the options name.

    Raises:
        StackNotFound, StackNotReady, StackVersionDiffers, CredentialsMissing, AwsUnreachable, …: of a stack.
        HomeNotWritable, StoreCorrupted, StoreBusy: of a home.
    """
    return _open_stack(options) if options.is_cloud else _open_home(Path(options.home))


def _open_stack(options: Options) -> Source:
    from engines.aws import AwsEngine  # boto3 takes its time: only where there is a stack
    from engines.aws_stack.account import Account

    engine = AwsEngine.open(Account(options.region, options.profile), options.stack_name or DEFAULT_STACK)
    stack = engine.stack
    architecture = "arm64" if stack.outputs.get("Architecture") == "arm64" else "x86_64"
    return Source(
        name=f"stack {stack.name}, {stack.region}",
        is_cloud=True,
        region=stack.region,
        architecture=cast("Architecture", architecture),
        store=engine.services.store,
        telemetry=engine.services.telemetry,
        exists=lambda: True,
        conducted=_not_ended,
        place=stack.place,
        newest_place=stack.place,
        missing=RunOfOtherStack,
        readers=STACK_READERS,
    )


def _not_ended(runs: Sequence[Run]) -> frozenset[str]:
    """A stack works on every run that has not ended, whether anybody looks or not."""
    return frozenset(run.run_id for run in runs if not run.ended)


def _open_home(folder: Path) -> Source:
    home = _WatchedHome(folder)
    home.check()
    return Source(
        name=f"home {folder}",
        is_cloud=False,
        region="",
        architecture="x86_64",
        store=home.store,
        telemetry=home.store,
        exists=home.exists,
        conducted=home.conducted,
        place=str(home.home.folder),
        newest_place=f"LAMBDAFIT_HOME {home.home.folder}",
        close=home.store.close,
    )


class _WatchedHome:
    """A home that may come, go and be replaced while it is looked at."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self._file = self.home.environment().store_file
        self.store = SqliteStore(self._file)
        self._identity: tuple[int, int] | None = None

    def exists(self) -> bool:
        """Whether there is a run store.

        Another file under the same name is another store: connections to the one that was removed are closed. For the
        one thread that reads.

        Raises:
            HomeNotWritable: the folder is none, or must not be looked into.
        """
        try:
            found = self._file.stat()
            identity = (found.st_dev, found.st_ino)
        except FileNotFoundError:
            identity = None
        except OSError as error:
            where = f"LAMBDAFIT_HOME {self.home.folder}"
            raise HomeNotWritable(where, str(error.strerror), "a folder that can be read") from error
        if identity != self._identity:
            self.store.close()
            self._identity = identity
        return identity is not None

    def conducted(self, runs: Sequence[Run]) -> frozenset[str]:
        """That which holds the home's lock works on one run."""
        conductor = HomeLock(self.home).held_by_other() if runs else ""
        return frozenset(run.run_id for run in runs if conductor.endswith(f"run {run.run_id}"))

    def check(self) -> None:
        """Whether it can be read at all. No connection stays open: the thread that asks here reads nothing more.

        Raises:
            HomeNotWritable, StoreCorrupted, StoreBusy: it cannot.
        """
        if self.exists():
            try:
                self.store.list_runs(1)
                self.store.read_steps("")
            finally:
                self.store.close()
