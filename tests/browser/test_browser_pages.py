"""Every page in a real browser: in light and dark, while a run goes on, by its address, and by its keys."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.made_shape import Shape
from benchmarks.recorded_run import LiveRun
from browser.browser_page import Server, Watch, screenshot, wait_until
from browser.dashboard_actions import (
    EXCEPTION,
    LOSS,
    PAGES,
    PATIENCE_MS,
    drag_over,
    mark,
    newest_x,
    open_dashboard,
    wait_for_address,
    wait_for_newer,
    wait_for_status,
    wait_until_quiet,
    was_reloaded,
    x_range,
)
from browser.dashboard_server import dashboard_server
from unit.dashboard.dashboard_samples import sample_home

HOUR_S = 3_600.0
SHOWN = "r-5ample0001"
OTHER = "r-5ample0002"
FAILED = "r-fai1ed0003"
STOPPED = "r-5topped004"
LIVE = "r-1ive000005"
UPDATES = 5
PAUSED_S = 5
THEMES = {"light": "watch", "dark": "dark_watch"}
COUNT_TIMERS = """
(() => {
  const [begin, end, running] = [window.setInterval, window.clearInterval, new Set()];
  window.lambdafitTimers = running;
  window.setInterval = (work, pause_ms, ...rest) => {
    const timer = begin(work, pause_ms, ...rest);
    if (pause_ms === 1000) running.add(timer);
    return timer;
  };
  window.clearInterval = (timer) => { running.delete(timer); end(timer); };
})();
"""
CHARTS = {"convergence": 2, "workers": 3, "predictions": 1, "cost": 2, "compare": 1}


class Shown(NamedTuple):
    """A home with runs of every kind, and the dashboard over it."""

    home: Path
    server: Server


@pytest.fixture(scope="module")
def shown(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    home, now = tmp_path_factory.mktemp("shown") / ".lambdafit", time.time()
    whole = {"workers": 6, "rounds": 24, "steps_per_round": 25}
    sample_home(home, "failed", run_id=FAILED, started_at=now - 5 * HOUR_S)
    sample_home(home, "cancelled", run_id=STOPPED, started_at=now - 4 * HOUR_S, workers=2)
    sample_home(home, run_id=OTHER, started_at=now - 3 * HOUR_S, workers=3, rounds=24, steps_per_round=50, seed=7)
    sample_home(home, run_id=SHOWN, started_at=now - HOUR_S, troubles=True, **whole)
    with dashboard_server(home) as server:
        yield Shown(home, server)


@pytest.fixture
def live(shown: Shown) -> Iterator[LiveRun]:
    """A run that goes on when it is told to. A run of a home is the newest while it is there."""
    shape = Shape(run_id=f"{LIVE}{time.time_ns():x}"[:32], workers=4, rounds=40, steps_per_round=20, batch_steps=5)
    with LiveRun(shown.home, shape, rounds_done=6) as run:
        yield run


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("theme", THEMES)
def test_a_page_draws_and_breaks_nothing(theme: str, name: str, shown: Shown, request: pytest.FixtureRequest) -> None:
    watch: Watch = request.getfixturevalue(THEMES[theme])
    query = f"run={SHOWN}&runs={SHOWN},{OTHER}" if name == "compare" else f"run={SHOWN}"
    open_dashboard(watch.page, f"{shown.server.url}/{PAGES[name]}?{query}")
    wait_until(
        watch.page,
        "least => [...document.querySelectorAll('.lambdafit-chart')].filter((one) => one._fullLayout).length >= least",
        CHARTS.get(name, 0),
    )
    if name == "runs":
        watch.page.locator("[data-testid=stMetricChart] svg, [data-testid=stMetricChart] canvas").last.wait_for()
    assert watch.page.locator(EXCEPTION).count() == 0
    assert watch.page.locator("[data-testid=stAlert]").count() == 0
    screenshot(watch.page, f"{name}-{theme}")


def test_a_zoom_survives_live_updates(watch: Watch, shown: Shown, live: LiveRun) -> None:
    page = watch.page
    open_dashboard(page, f"{shown.server.url}/convergence?run={live.run_id}")
    mark(page)
    newest = wait_for_newer(page, 0)
    drag_over(page, LOSS, 0.25, 0.5)
    wait_until(page, "s => document.querySelector(s).layout.xaxis.autorange === false", LOSS)
    zoomed = x_range(page)
    assert zoomed[1] - zoomed[0] < 0.5 * newest
    rate = ".st-key-convergence_accuracy_step .lambdafit-chart"
    seen = newest_x(page, rate)
    for _ in range(UPDATES):
        live.advance(20)
        seen = wait_for_newer(page, seen, rate)
        assert x_range(page) == zoomed
    assert seen == newest + 20 * UPDATES
    assert not was_reloaded(page)


def test_updates_leave_no_timers_behind(watch: Watch, shown: Shown, live: LiveRun) -> None:
    page = watch.page
    page.add_init_script(COUNT_TIMERS)
    open_dashboard(page, f"{shown.server.url}/convergence?run={live.run_id}")
    newest = wait_for_newer(page, 0)
    before = page.evaluate("lambdafitTimers.size")
    for _ in range(UPDATES):
        live.advance(20)
        newest = wait_for_newer(page, newest)
    wait_until(page, "most => lambdafitTimers.size <= most", before, 5_000)


def test_the_newest_run_is_followed_while_open(watch: Watch, shown: Shown, live: LiveRun) -> None:
    page = watch.page
    open_dashboard(page, f"{shown.server.url}/workers?run=latest")
    mark(page)
    page.locator(".run-strip", has_text=live.run_id).wait_for()
    newer = f"r-newer{time.time_ns():x}"[:32]
    sample_home(shown.home, run_id=newer, started_at=time.time() + 1, rounds=2)
    page.locator(".run-strip", has_text=newer).wait_for()
    assert not was_reloaded(page)


def test_a_link_opens_its_run_on_its_page(watch: Watch, shown: Shown) -> None:
    page = watch.page
    for link, run_id in ((SHOWN, SHOWN), (STOPPED[:6], STOPPED)):
        open_dashboard(page, f"{shown.server.url}/workers?run={link}")
        page.locator(".run-strip", has_text=run_id).wait_for()
        page.get_by_role("button", name="Trace").wait_for()


def test_the_runs_are_found_at_their_own_address_too(watch: Watch, shown: Shown) -> None:
    page = watch.page
    page.goto(f"{shown.server.url}/runs?run={SHOWN}")
    wait_until(page, "() => location.pathname === '/'", timeout_ms=PATIENCE_MS)
    page.locator(".run-strip", has_text=SHOWN).wait_for()
    page.get_by_test_id("stDataFrame").first.wait_for()
    wait_until_quiet(page)
    assert page.locator("[data-testid=stDialog]").count() == 0, "Streamlit says in one that a page is not found"


def test_scripts_of_charts_are_fetched_once_and_early(watch: Watch, shown: Shown) -> None:
    page = watch.page
    open_dashboard(page, f"{shown.server.url}/convergence?run={SHOWN}")
    page.locator(LOSS).wait_for()
    for name in ("plotly.min.js", "plotly_chart.js"):
        assert len([url for url in watch.requests if name in url]) == 1, watch.requests


def test_a_link_to_no_run_says_so(watch: Watch, shown: Shown) -> None:
    page = watch.page
    for name in ("r-n0where", "r-5", "<b>"):
        open_dashboard(page, f"{shown.server.url}/workers?run={name}")
        alert = page.get_by_test_id("stAlert")
        alert.wait_for()
        assert re.search(r"E\d{3}", alert.inner_text())
        assert alert.locator("p").count() == 2, "what is wrong, and what to do"


def test_the_key_p_pauses(watch: Watch, shown: Shown, live: LiveRun) -> None:
    page = watch.page
    open_dashboard(page, f"{shown.server.url}/convergence?run={live.run_id}")
    page.keyboard.press("p")
    page.locator(".run-strip", has_text="paused").wait_for()
    wait_until_quiet(page)
    before = newest_x(page)
    live.advance(20)
    # The line counts the data's age by itself: several looks for news would have taken place by then.
    wait_until(
        page,
        "least => /(\\d+) s old/.exec(document.querySelector('.run-strip .stale')?.textContent)?.[1] >= least",
        PAUSED_S,
    )
    assert newest_x(page) == before
    page.keyboard.press("p")
    wait_for_newer(page, before)


def test_the_keys_n_and_b_go_through_the_workers(watch: Watch, shown: Shown) -> None:
    page = watch.page
    open_dashboard(page, f"{shown.server.url}/workers?run={SHOWN}")
    for key, worker in (("n", 0), ("n", 1), ("b", 0), ("b", 5)):
        page.keyboard.press(key)
        wait_for_address(page, f"workers_worker={worker}")
        wait_until_quiet(page)


def test_a_failed_run_says_why_and_what_to_do(watch: Watch, shown: Shown) -> None:
    page = watch.page
    open_dashboard(page, f"{shown.server.url}/convergence?run={FAILED}")
    wait_for_status(page, "failed")
    alert = page.get_by_test_id("stAlert").first
    assert re.search(r"E\d{3}", alert.inner_text()) and alert.locator("p").count() == 2


def test_nothing_was_said_in_the_log_that_nobody_foresaw(shown: Shown) -> None:
    assert "Traceback" not in shown.server.log, shown.server.log[-3000:]
