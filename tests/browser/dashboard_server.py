"""The real dashboard, `lambdafit dashboard`, as a server of its own over a home on this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from browser.browser_page import ROOT, Server

START_S = 90.0
STOP_S = 15.0
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/")
DATA_BESIDE = ROOT.parent / "shared" / "data"


def variables(home: Path, **more: str) -> dict[str, str]:
    """The environment of every `lambdafit` command that works in this home."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(("LAMBDAFIT_", "AWS_"))}
    data = os.environ.get("LAMBDAFIT_DATA") or (str(DATA_BESIDE) if DATA_BESIDE.is_dir() else "")
    paths = os.pathsep.join(part for part in (str(ROOT / "src"), os.environ.get("PYTHONPATH", "")) if part)
    given |= {"PYTHONPATH": paths, "LAMBDAFIT_HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3", "NO_COLOR": "1"}
    return given | ({"LAMBDAFIT_DATA": data} if data else {}) | more


def command(home: Path, *arguments: str, timeout_s: float = 120.0) -> str:
    """Run `lambdafit …` in a home to its end; gives what it printed. Fails if the command does."""
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env=variables(home),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"lambdafit {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}"
    return done.stdout


@contextmanager
def dashboard_server(
    home: Path, options: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """`lambdafit dashboard` on any free port, until the block ends.

    Raises:
        RuntimeError: it ended instead of naming its address; the message holds what it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "--debug", "dashboard", "--port", "0", "--no-open", *options],
            env=variables(home, **(environment or {})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        reader = _Reader(process, log)
        reader.start()
        try:
            yield Server(reader.address(), process, log)
        finally:
            _end(process)
            reader.join()


class _Reader(threading.Thread):
    """Copies what the server prints to a file, so that the pipe never fills, and looks for its address."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        super().__init__(daemon=True)
        self._process, self._log = process, log
        self._settled = threading.Event()
        self._url = ""

    def run(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as printed, self._log.open("wb", buffering=0) as log:
            for line in printed:
                log.write(line)
                text = line.decode(errors="replace").strip()
                if not self._settled.is_set() and ADDRESS.fullmatch(text):
                    self._url = text.rstrip("/")
                    self._settled.set()
        self._settled.set()

    def address(self) -> str:
        """Waits for it: the command gives up by itself where its server does not come up."""
        self._settled.wait(START_S)
        if not self._url:
            raise RuntimeError(f"the dashboard did not come up:\n{self._log.read_text(errors='replace')}")
        return self._url


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
