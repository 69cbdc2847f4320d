"""Watches this process while it reads foreign bytes: no write outside one folder, no program, no connection."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

FORBIDDEN = frozenset({
    "pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty",
    "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request", "ctypes.dlopen",
    "shutil.unpack_archive", "os.chown", "os.putenv", "os.kill", "webbrowser.open",
})  # fmt: skip
CHANGING = frozenset({
    "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod", "os.utime",
})  # fmt: skip
OWN_CODE = tuple({sys.prefix, sys.base_prefix, str(Path(__file__).resolve().parents[2])})
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Escape(BaseException):
    """Foreign bytes had something done that no reader may do. No `except Exception` holds it up."""


class TooLong(BaseException):
    """One input took longer than its time limit."""


class Sandbox:
    """Arms itself once; the hook stays for the life of the process, so make one in a child.

    Args:
        folder: all that may be written to.
        readable: beside it and the code, all that may be read.
    """

    def __init__(self, folder: Path, readable: Path | None = None) -> None:
        self._root = os.path.realpath(folder)
        self._readable = os.path.realpath(readable or folder)
        self._armed = False
        sys.addaudithook(self._hook)
        signal.signal(signal.SIGALRM, _too_long)

    def __enter__(self) -> Sandbox:
        self._armed = True
        return self

    def __exit__(self, *error: object) -> None:
        self._armed = False

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._armed:
            return
        if event in FORBIDDEN or (
            event == "exec" and not str(getattr(arguments[0], "co_filename", "")).startswith(("<frozen", *OWN_CODE))
        ):
            self._escape(event, arguments)
        elif event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & WRITING
            if isinstance(path, str | bytes) and not self._is_inside(path, reads=not writes):
                self._escape(event, arguments)
        elif event in CHANGING:
            paths = [path for path in arguments if isinstance(path, str | bytes)]
            is_relative = event != "os.truncate" and isinstance(arguments[-1], int) and arguments[-1] >= 0
            if event == "os.symlink":
                paths = paths[1:]
            if not is_relative and not all(self._is_inside(path, reads=False) for path in paths):
                self._escape(event, arguments)

    def _is_inside(self, path: str | bytes, *, reads: bool) -> bool:
        text = os.path.realpath(os.fsdecode(path))
        allowed = (
            (self._root, self._readable, *OWN_CODE, "/usr/lib", "/proc/self", "/etc/mime.types")
            if reads
            else (self._root,)
        )
        return text.startswith(allowed) or text == os.devnull

    def _escape(self, event: str, arguments: tuple[Any, ...]) -> None:
        self._armed = False
        raise Escape(f"{event} {arguments!r}"[:300])


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise TooLong


def limit_memory(more_bytes: int) -> None:
    """Let this process's address space grow by so much and no more. Nothing where the system does not tell its size."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        now = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + more_bytes, now + more_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def peak_bytes() -> int:
    """The most that was resident so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
