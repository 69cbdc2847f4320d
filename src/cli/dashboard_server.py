"""The dashboard's server: Streamlit in a process of its own, until Ctrl-C."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from typing import BinaryIO

import click
import msgspec

from cli.failure import echo_error
from cli.flags import Flags
from cli.home_access import current_home
from cli.runs_place import open_runs
from contracts.errors import DashboardNotStarted, InvalidSetting
from runs.own_process import SOURCE_FOLDER

CHECKOUT = SOURCE_FOLDER.parent
SCRIPT = CHECKOUT / "dashboard" / "streamlit_app.py"
VARIABLE = "LAMBDAFIT_DASHBOARD"
FIRST_PORT = 8501
PORTS_TRIED = 100
START_S = 60.0
END_S = 5.0
POLL_S = 0.1
QUOTED_BYTES = 2_000


def serve(
    flags: Flags, run: str | None, port: int | None, host: str, *, read_only: bool, allow: tuple[str, ...],
    opens: bool | None,
) -> int:  # fmt: skip
    """Start the server, say where it is, and stay until Ctrl-C or its end.

    Args:
        port: 0 for any, None for the first free one from 8501 on.
        opens: whether a browser window is opened; None: where somebody sits at a terminal.
    Returns:
        the exit code.
    Raises:
        InvalidSetting: the address is public, and nothing keeps strangers from spending money.
        RunNotFound, InvalidRunId: there is no such run.
        DashboardNotStarted: the port is taken, or the server ended at once.
    """
    check_address(host, read_only=read_only, allow=allow)
    if not SCRIPT.is_file():
        raise DashboardNotStarted(str(SCRIPT), "it is not there", "a checkout of lambdafit with the folder dashboard/")
    run_id = open_runs(flags).find(run).run_id if run else ""
    port = _free_port(host, port)
    url = f"http://{_reachable(host)}:{port}/" + (f"convergence?run={run_id}" if run_id else "")
    with _server(flags, host, port, read_only=read_only, allow=allow) as (process, log):
        _wait_until_healthy(process, log, host, port)
        click.echo(url)
        echo_error("Ctrl-C ends the dashboard; runs go on.")
        if opens if opens is not None else sys.stdout.isatty() and not flags.quiet:
            click.launch(url)
        try:
            code = process.wait()
        except KeyboardInterrupt:
            return 0
    raise DashboardNotStarted("the dashboard's server", f"it ended with exit code {code}: {_quoted(log)}")


def check_address(host: str, *, read_only: bool, allow: tuple[str, ...]) -> None:
    """Whether it may listen there.

    Raises:
        InvalidSetting: others than this machine could reach it, and start runs.
    """
    if host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise InvalidSetting("--host", repr(host), "an address such as 127.0.0.1 or 0.0.0.0") from None
    if not loopback and not read_only and not allow:
        expected = "--allow with the addresses of those who may come in, or --read-only"
        raise InvalidSetting("--host", f"{host} lets others reach the dashboard and start runs", expected)


def environment(flags: Flags, *, read_only: bool, allow: tuple[str, ...]) -> dict[str, str]:
    """The server's environment: what it is to show, in the form of `dashboard.options.Options`."""
    place = flags.place
    options: dict[str, object] = {"read_only": read_only, "allow": allow}
    if place.is_cloud:
        options |= {"engine": "aws", "stack_name": place.stack, "region": place.region, "profile": place.profile}
    else:
        options["home"] = str(current_home().folder.resolve())
    paths = [str(SOURCE_FOLDER), str(CHECKOUT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        VARIABLE: msgspec.json.encode(options).decode(),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }


@contextlib.contextmanager
def _server(
    flags: Flags, host: str, port: int, *, read_only: bool, allow: tuple[str, ...]
) -> Iterator[tuple[subprocess.Popen[bytes], BinaryIO]]:
    """The running process and what it printed. It is ended with the block."""
    command = [
        *(sys.executable, "-P", "-m", "streamlit", "run", str(SCRIPT)),
        *("--server.address", host, "--server.port", str(port)),
        *(("--server.allowedHosts", "localhost", "--server.allowedHosts", host) if _is_loopback(host) else ()),
    ]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - Streamlit of this environment, and no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=None if flags.debug else log,
            stderr=None if flags.debug else subprocess.STDOUT,
            env=environment(flags, read_only=read_only, allow=allow),
            start_new_session=True,  # Ctrl-C comes here first, and runs started from a page are not hit by it
        )
        ended = signal.signal(signal.SIGTERM, _interrupt)
        try:
            yield process, log
        finally:
            signal.signal(signal.SIGTERM, ended)
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _interrupt(*_signal: object) -> None:
    raise KeyboardInterrupt


def _free_port(host: str, port: int | None) -> int:
    """The port to listen on, free a moment ago.

    Raises:
        DashboardNotStarted: it is taken.
    """
    tried = range(FIRST_PORT, FIRST_PORT + PORTS_TRIED) if port is None else [port]
    for number in tried:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, number))
            except OSError as error:
                reason = error.strerror
                continue
            return int(probe.getsockname()[1])
    where = f"{host}, port {tried[0]}" + ("" if port is not None else f" to {tried[-1]}")
    raise DashboardNotStarted(where, str(reason), "a free port")


def _wait_until_healthy(process: subprocess.Popen[bytes], log: BinaryIO, host: str, port: int) -> None:
    until = time.monotonic() + START_S
    url = f"http://{_reachable(host)}:{port}/_stcore/health"
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1.0):
            return
        time.sleep(POLL_S)
    state = "it does not answer" if process.poll() is None else f"it ended with exit code {process.returncode}"
    raise DashboardNotStarted("the dashboard's server", f"{state}: {_quoted(log)}")


def _quoted(log: BinaryIO) -> str:
    """The end of what the server printed."""
    with contextlib.suppress(OSError, ValueError):
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - QUOTED_BYTES))
        return log.read().decode(errors="replace").strip() or "it printed nothing"
    return "it printed nothing"


def _is_loopback(host: str) -> bool:
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def _reachable(host: str) -> str:
    """The address for this machine's browser."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - no binding: what is shown in its place
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
