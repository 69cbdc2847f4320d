"""What people do with runs that really train: start one, stop one, ask one about their own picture."""

from __future__ import annotations

import io
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from browser.browser_page import Server, Watch
from browser.dashboard_actions import (
    mark,
    newest_x,
    open_dashboard,
    wait_for_address,
    wait_for_newer,
    wait_for_status,
    wait_until_quiet,
    was_reloaded,
)
from browser.dashboard_server import command, dashboard_server

TRAINED_S = 90.0
ANSWERED_MS = 60_000
RUN_ID = re.compile(r"r-[0-9a-z]+")
TOO_MUCH = 5_000_001
LOOKS = 3


class Worked(NamedTuple):
    """A home in which runs are trained, and the dashboard over it."""

    home: Path
    server: Server


@pytest.fixture(scope="module")
def worked(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worked]:
    home = tmp_path_factory.mktemp("worked") / "home"
    with dashboard_server(home) as server:
        try:
            yield Worked(home, server)
        finally:
            stop_what_runs(home)


@pytest.fixture(scope="module")
def trained(worked: Worked) -> str:
    """A small run that is finished."""
    stop_what_runs(worked.home)
    printed = command(worked.home, "train", "digits-mlp", "--workers", "2", "--epochs", "2", "--json")
    return str(json.loads(printed.splitlines()[-1])["run_id"])


def stop_what_runs(home: Path) -> None:
    """No run is left behind by a test that failed half way."""
    for run in json.loads(command(home, "runs", "list", "--json").splitlines()[-1])["runs"]:
        if run["status"] in ("running", "RUNNING", "PENDING"):
            command(home, "runs", "stop", run["run_id"])


def digit_picture(index: int) -> bytes:
    """One of scikit-learn's digits as a PNG of 8×8 pixels."""
    from sklearn.datasets import load_digits  # 2 s, which no other process of tests need spend

    picture = load_digits().images[index]  # (8, 8), 0 … 16
    file = io.BytesIO()
    Image.fromarray((picture / 16 * 255).astype("uint8")).save(file, "PNG")
    return file.getvalue()


def hand_in(page: Any, name: str, data: bytes) -> None:
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": data})


def test_a_run_started_on_the_page_finishes_there(watch: Watch, worked: Worked) -> None:
    page = watch.page
    open_dashboard(page, f"{worked.server.url}/new_run")
    mark(page)
    for label, value in (("Workers", "2"), ("Epochs", "2")):
        field = page.get_by_label(label, exact=True).and_(page.locator("input"))
        field.fill(value)
        field.press("Enter")
        page.locator("[data-testid=stCode]", has_text=f"--{label.lower()} {value}").wait_for()
    page.get_by_role("button", name="Start", exact=True).click()
    wait_for_address(page, "/convergence?run=r-")
    wait_for_status(page, "finished", TRAINED_S)
    wait_until_quiet(page)
    run_id = RUN_ID.search(page.url)
    assert run_id is not None and run_id.group() in command(worked.home, "runs", "list")
    assert newest_x(page) > 0, "curves are drawn"
    assert not was_reloaded(page)


def test_a_run_is_stopped_after_a_question_that_stays(watch: Watch, worked: Worked) -> None:
    page = watch.page
    command(worked.home, "train", "digits-mlp", "--workers", "2", "--epochs", "100000", "--detach")
    sockets: list[Any] = []
    page.on("websocket", lambda socket: sockets.append(socket))
    open_dashboard(page, f"{worked.server.url}/convergence?run=latest")
    wait_for_status(page, "running")
    shown = wait_for_newer(page, 0)
    page.get_by_role("button", name="Stop", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    for _ in range(LOOKS):  # the page looks for news, finds some, and keeps them until the question is answered
        sockets[-1].wait_for_event("framereceived", timeout=20_000)
    assert dialog.get_by_text("Stop the run?").is_visible()
    dialog.get_by_role("button", name="Keep it going").click()
    dialog.wait_for(state="detached")
    wait_for_newer(page, shown)
    page.get_by_role("button", name="Stop", exact=True).click()
    dialog.get_by_role("button", name="Stop it").click()
    wait_for_status(page, "stopped", 40)
    dialog.wait_for(state="detached")
    page.get_by_role("button", name="Stop", exact=True).wait_for(state="detached")
    assert "CANCELLED" in command(worked.home, "runs", "show", "latest", "--json")


def test_a_picture_is_looked_at(watch: Watch, worked: Worked, trained: str) -> None:
    page = watch.page
    open_dashboard(page, f"{worked.server.url}/predictions?run={trained}")
    hand_in(page, "three.png", digit_picture(3))
    said = page.get_by_text("The same in a terminal:")
    said.wait_for(timeout=ANSWERED_MS)
    wait_until_quiet(page)
    assert f"lambdafit predict {trained} three.png" in said.inner_text()
    assert page.get_by_text(re.compile(r"^\d+\.\d %$")).count() == 3


def test_a_file_that_is_no_picture_is_refused_in_a_sentence(watch: Watch, worked: Worked, trained: str) -> None:
    page = watch.page
    open_dashboard(page, f"{worked.server.url}/predictions?run={trained}")
    hand_in(page, "notes.png", b"these are my notes")
    alert = page.get_by_test_id("stAlert").filter(has_text="notes.png")
    alert.wait_for(timeout=ANSWERED_MS)
    assert re.search(r"E\d{3}", alert.inner_text()) and tempfile.gettempdir() not in alert.inner_text()


def test_a_file_that_is_too_large_stays_where_it_is(watch: Watch, worked: Worked, trained: str) -> None:
    page = watch.page
    open_dashboard(page, f"{worked.server.url}/predictions?run={trained}")
    hand_in(page, "large.png", bytes(TOO_MUCH))
    page.get_by_text(re.compile("5.* ?MB or smaller")).wait_for()


def test_nothing_was_said_in_the_log_that_nobody_foresaw(worked: Worked) -> None:
    assert "Traceback" not in worked.server.log, worked.server.log[-3000:]
