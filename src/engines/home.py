"""The home folder on a laptop: where everything lies, and the lock that keeps two engines apart."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path

from contracts.errors import HomeInUse, HomeNotWritable
from contracts.identifiers import check_run_id
from handlers.environment import FunctionEnvironment
from stores.private_folders import make_private_folder

LOG_SUFFIX = ".log"
TRIES = 10
TRY_AGAIN_S = 0.03
"""Whoever asks `held_by_other` holds the lock for a moment: that must not keep an engine from starting."""


class Home:
    """One `LAMBDAFIT_HOME`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()

    def environment(self, data: str = "", threads: int = 1) -> FunctionEnvironment:
        """What functions are told that work in this home."""
        return FunctionEnvironment(home=str(self.folder), data=data, threads=threads)

    def log_folder(self, run_id: str) -> Path:
        """What the functions of a run print."""
        return self.folder / "logs" / check_run_id(run_id)

    @property
    def temporary_folder(self) -> Path:
        """Temporary files of an engine's functions: what a killed one leaves there goes with the engine."""
        return self.folder / "tmp"

    def remove_temporary_files(self) -> None:
        """Whatever lies there. For who holds the lock; never an error."""
        shutil.rmtree(self.temporary_folder, ignore_errors=True)

    def create(self) -> None:
        """Make the folder, for its owner alone.

        Raises:
            HomeNotWritable: it cannot be made or written to.
        """
        try:
            make_private_folder(self.folder)
            probe = self.folder / f".writable-{os.getpid()}"
            probe.touch(mode=0o600)
            probe.unlink()
        except OSError as error:
            raise HomeNotWritable(f"LAMBDAFIT_HOME {self.folder}", str(error.strerror), "a writable folder") from error


class HomeLock:
    """Held by the one engine that works in a home; the kernel releases it, however the process ends."""

    def __init__(self, home: Home) -> None:
        self._path = home.folder / "engine.lock"
        self._descriptor = -1

    def acquire(self, what: str) -> None:
        """Take the lock.

        Args:
            what: told to whoever finds the home in use.
        Raises:
            HomeInUse: another engine holds it.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _locked(descriptor):
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise HomeInUse(f"LAMBDAFIT_HOME {self._path.parent}", f"in use by {holder or 'another process'}")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}, {what}".encode(), 0)
        self._descriptor = descriptor

    @property
    def held(self) -> bool:
        """Whether it was taken here and not yet given back."""
        return self._descriptor >= 0

    def release(self) -> None:
        """Give the lock back. No error where it is not held."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def held_by_other(self) -> str:
        """Who works in this home, or an empty text."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
        finally:
            os.close(descriptor)
        return ""


def _locked(descriptor: int) -> bool:
    """Whether the lock could be taken, at the latest when everybody who only looked has gone."""
    for _ in range(TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(TRY_AGAIN_S)
        else:
            return True
    return False
