"""Places and runs in a bad state, in a real browser: a sentence that says what to do, never a traceback."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.made_shape import Shape
from benchmarks.recorded_run import LiveRun
from browser.browser_page import Server, Watch, screenshot
from browser.dashboard_actions import EXCEPTION, LOSS, PAGES, open_dashboard, wait_for_status
from browser.dashboard_server import command, dashboard_server
from dashboard.parts.live import ENDED_S
from engines.home import Home
from unit.dashboard.dashboard_samples import sample_home

OF_A_RUN = ("convergence", "workers", "predictions", "cost", "compare")
NUMBER = re.compile(r"\bE\d{3}\b")
GONE_MS = 40_000
REACHED_MS = 60_000
KEYS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_MAX_ATTEMPTS": "1"}


@pytest.fixture(scope="module")
def empty(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with dashboard_server(tmp_path_factory.mktemp("empty") / "home") as server:
        yield server


@pytest.fixture(scope="module")
def broken(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("broken") / "home"
    sample_home(home)
    store = Home(home).environment().store_file
    store.write_bytes(b"This is no database. " * 1000)
    with dashboard_server(home) as server:
        yield server


def check_sentence(page: Any) -> None:
    """A numbered error with what to do, and nothing that looks like a program's own words."""
    alert = page.get_by_test_id("stAlert").first
    alert.wait_for(timeout=REACHED_MS)
    assert NUMBER.search(alert.inner_text()), alert.inner_text()
    assert alert.locator("p").count() >= 2, "what is wrong, and what to do"
    text = page.locator("body").inner_text()
    assert "Traceback" not in text and page.locator(EXCEPTION).count() == 0


def test_an_empty_home_says_how_to_start_on_every_page(watch: Watch, empty: Server) -> None:
    page = watch.page
    for name in OF_A_RUN:
        open_dashboard(page, f"{empty.url}/{name}")
        page.get_by_text("No runs yet").wait_for()
        page.get_by_text("lambdafit train digits-mlp").first.wait_for()
        assert page.locator(EXCEPTION).count() == 0
    open_dashboard(page, f"{empty.url}/")
    page.get_by_role("button", name="Train the demo").wait_for()
    screenshot(page, "state-empty")


def test_a_corrupt_store_is_named_on_every_page(watch: Watch, broken: Server) -> None:
    for address in PAGES.values():
        open_dashboard(watch.page, f"{broken.url}/{address}")
        check_sentence(watch.page)
    screenshot(watch.page, "state-corrupt")


def test_a_run_removed_while_it_is_shown(watch: Watch, tmp_path: Path) -> None:
    page, home = watch.page, tmp_path / "home"
    sample_home(home, run_id="r-0ther")
    live = LiveRun(home, Shape(workers=2, rounds=9, steps_per_round=10, batch_steps=5), rounds_done=3)
    with contextlib.closing(live), dashboard_server(home) as server:
        open_dashboard(page, f"{server.url}/convergence?run={live.run_id}")
        wait_for_status(page, "running")
        page.locator(LOSS).wait_for()
        live.close()
        command(home, "runs", "rm", live.run_id, "--yes")
        page.get_by_test_id("stAlert").first.wait_for(timeout=GONE_MS)
        check_sentence(page)
        screenshot(page, "state-removed")
        page.close()
        assert "Traceback" not in server.log


def test_a_finished_run_removed_while_it_is_shown(watch: Watch, tmp_path: Path) -> None:
    page, home = watch.page, tmp_path / "home"
    for run_id in ("r-0ther", "r-finished"):
        sample_home(home, run_id=run_id)
    with dashboard_server(home) as server:
        page.clock.install()
        open_dashboard(page, f"{server.url}/convergence?run=r-finished")
        wait_for_status(page, "finished")
        command(home, "runs", "rm", "r-finished", "--yes")
        page.clock.fast_forward(1_000 * ENDED_S)
        page.get_by_test_id("stAlert").first.wait_for(timeout=GONE_MS)
        check_sentence(page)
        page.close()
        assert "Traceback" not in server.log


def test_a_stack_out_of_reach(watch: Watch, tmp_path: Path) -> None:
    with socket.socket() as closed:  # bound and not listened to: whoever comes is refused
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        options = ("--engine", "aws", "--region", "eu-west-1")
        with dashboard_server(tmp_path / "home", options, {"AWS_ENDPOINT_URL": address, **KEYS}) as server:
            for name in ("convergence", ""):
                open_dashboard(watch.page, f"{server.url}/{name}")
                check_sentence(watch.page)
            screenshot(watch.page, "state-out-of-reach")
            watch.page.close()
