"""The runs of a place, a home on this machine or a deployed stack, as commands look at them and work on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from cli.flags import Flags
from contracts.ports import RunStore, Telemetry
from contracts.records import Run
from engines.find_run import ALL_RUNS, NO_RUNS, find_run
from runs.services import Services

__all__ = ["ALL_RUNS", "NO_RUNS", "LogReader", "Runs", "find_run", "open_runs"]


class LogReader(Protocol):
    """What the functions of a run printed, read as it comes in."""

    poll_s: float
    """How long to wait between two looks."""

    at_rest_s: float
    """How long nothing has to come before nothing more will."""

    def news(self, *, to_the_end: bool) -> Sequence[tuple[str, str]]:
        """Lines that have come since the last time, each with the name of who printed it.

        Args:
            to_the_end: also an unfinished last line.
        """


class Runs(Protocol):
    """The runs of one place."""

    follow_s: float
    """How often a display may look at a run."""

    @property
    def store(self) -> RunStore:
        """Where they are recorded."""

    @property
    def telemetry(self) -> Telemetry:
        """Where their progress is."""

    def runs(self, limit: int = ALL_RUNS) -> list[Run]:
        """The newest runs, newest first."""

    def find(self, name: str) -> Run:
        """The run that a user means: by its id, the unique beginning of one, or `latest`.

        Raises:
            InvalidRunId: it cannot be a run's name, or several begin so.
            RunNotFound, RunOfOtherStack: there is none.
        """

    def conducted(self, runs: Sequence[Run]) -> frozenset[str]:
        """The ids of those that are being worked at just now."""

    def services(self) -> Services:
        """For the use cases that write into the run store."""

    def ask(self, run: Run, event: Mapping[str, Any], flags: Flags) -> dict[str, Any]:
        """Have the predict function do something with the run's model.

        Raises:
            LambdafitError: what the function failed of.
        """

    def predict(self, run: Run, images: Sequence[Path], flags: Flags) -> dict[str, Any]:
        """What the run's model sees in pictures on this machine."""

    def export(self, run: Run, to_format: str, target: Path, flags: Flags) -> None:
        """Put the run's model, or its curves as a folder, on this machine: whole or not at all."""

    def logs(self, run: Run, worker: int | None) -> LogReader:
        """What its functions printed; with `worker` only what that one did."""

    def check_at_rest(self, run_ids: Sequence[str]) -> None:
        """Whether these runs may be removed.

        Raises:
            HomeInUse, RunAtWork: one of them is being worked at.
        """

    def has_left_over(self, run_id: str) -> bool:
        """Whether something is there of a run that has no record any more."""

    def remove(self, run_id: str) -> None:
        """Remove a run with its files, its logs and, last of all, its records."""


def open_runs(flags: Flags) -> Runs:
    """The runs of the place that the command line names.

    Raises:
        StackNotFound, CredentialsMissing, …: it is a stack, and cannot be reached.
    """
    if flags.place.is_cloud:
        from cli.stack_access import open_stack_runs

        return open_stack_runs(flags.place)
    from cli.home_access import RunFolder, current_home

    return RunFolder(current_home())
