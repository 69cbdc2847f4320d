"""A Streamlit script as a server of its own, and a browser page that notes whatever it should not do."""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = Path(__file__).resolve().parent / "screenshots"
# The first is Chromium without its windows: it takes two thirds of the processor time.
BROWSER_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
BROWSER_ARGUMENTS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
LOCAL_SCHEMES = ("data", "blob", "about")
PROBE = re.compile(r"://[^/]+/[^/]+/_stcore/(health|host-config)$")
"""Opened at a page, Streamlit's script first looks for its server beneath that page, in vain, then at the root."""

LEFT = "net::ERR_ABORTED"
"""How requests end that are under way when the page is left or closed."""

START_S = 60.0
STOP_S = 10.0
COLORS = 256
HEALTH_PAUSE_S = 0.1
LOOK_MS = 100
"""Between two looks for a change: looking in every frame keeps the page drawing frames."""


class Server:
    """A running Streamlit server.

    Args:
        url: its address, without a slash at the end.
        log: what it has printed so far.
    """

    def __init__(self, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.url, self.process, self.log_path = url, process, log

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")


@contextmanager
def streamlit_server(script: Path, environment: Mapping[str, str] | None = None, *options: str) -> Iterator[Server]:
    """The script, served as `lambdafit dashboard` serves the app, until the block ends.

    Raises:
        RuntimeError: it did not come up; the message holds what it printed.
    """
    port = _free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
    command += ["--server.headless", "true", "--server.address", HOST, "--browser.gatherUsageStats", "false"]
    command += ["--server.fileWatcherType", "none", *options]
    python_path = os.pathsep.join([str(ROOT / "src"), str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=script.parent,
                env={**os.environ, "PYTHONPATH": python_path, **(environment or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        server = Server(f"http://{HOST}:{port}", process, log)
        try:
            _wait_until_healthy(server)
            yield server
        finally:
            _end(process)


class Watch:
    """What a page did: its console's errors, requests that failed, and those to anywhere but the server under test."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        self.foreign: list[str] = []
        self.failed: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._asked(request.url))
        page.on("requestfailed", self._broke)
        page.on("response", self._answered)
        page.on("websocket", lambda websocket: self._asked(websocket.url))

    def _heard(self, message: Any) -> None:
        address = message.location.get("url", "")
        if message.type == "error" and not PROBE.search(address):
            self.errors.append(f"{message.text} ({address})")

    def _broke(self, request: Any) -> None:
        if request.failure != LEFT:
            self.failed.append(f"{request.failure} {request.url}")

    def _answered(self, response: Any) -> None:
        if response.status >= 400 and not PROBE.search(response.url):
            self.failed.append(f"{response.status} {response.url}")

    def _asked(self, url: str) -> None:
        self.requests.append(url)
        parts = urlsplit(url)
        if parts.scheme not in LOCAL_SCHEMES and parts.hostname != HOST:
            self.foreign.append(url)

    def check(self) -> None:
        """Fails if anything was asked of another host or in vain, or any error showed in the console."""
        assert not self.foreign, f"requests that leave the machine: {self.foreign}"
        assert not self.failed, f"requests that failed: {self.failed}"
        assert not self.errors, f"errors in the browser's console: {self.errors}"


def open_page(page: Any, server: Server, path: str = "/") -> Any:
    """The page, once Streamlit has run the script to its end."""
    page.goto(server.url + path)
    wait_until_run(page)
    return page


def wait_until_run(page: Any) -> None:
    """Waits until the script has been run and nothing of an earlier run is left on the page."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=30_000)


def wait_until(page: Any, condition: str, arg: Any = None, timeout_ms: float | None = None) -> None:
    """Waits until an expression holds on the page, or a function of `arg`; 30 s at most unless told otherwise."""
    page.wait_for_function(condition, arg=arg, timeout=timeout_ms, polling=LOOK_MS)


def wait_until_drawn(page: Any, count: int = 1) -> None:
    """Waits until so many charts are drawn."""
    wait_until(
        page,
        "count => document.querySelectorAll('.lambdafit-chart .main-svg').length > 0"
        " && document.querySelectorAll('.lambdafit-chart > .plot-container').length >= count",
        count,
    )


def screenshot(page: Any, name: str) -> Path:
    """A picture: the whole page, beside the tests; or what a window shows, small, in `LAMBDAFIT_SCREENSHOTS`."""
    wanted = os.environ.get("LAMBDAFIT_SCREENSHOTS")
    folder = Path(wanted or SCREENSHOTS)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{re.sub(r'[^a-z0-9_-]+', '-', name.lower())}.png"
    data = page.screenshot(full_page=not wanted, animations="disabled")
    if wanted:
        with Image.open(io.BytesIO(data)) as picture:
            picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
    else:
        path.write_bytes(data)
    return path


def browser_path() -> str | None:
    """An installed Chromium; None where there is none but perhaps Playwright's own."""
    return next((path for name in BROWSER_NAMES if (path := shutil.which(name))), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _wait_until_healthy(server: Server) -> None:
    last = time.monotonic() + START_S
    while time.monotonic() < last:
        if _is_healthy(server.url):
            return
        try:
            server.process.wait(HEALTH_PAUSE_S)
        except subprocess.TimeoutExpired:
            continue
        break
    raise RuntimeError(f"Streamlit did not come up:\n{server.log}")


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2) as answer:  # noqa: S310  loopback
            return bool(answer.status == 200)
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
