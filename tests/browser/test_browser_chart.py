"""The chart component in a real browser: what survives live updates, what comes back, what is never asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser.browser_page import (
    Server,
    Watch,
    open_page,
    screenshot,
    streamlit_server,
    wait_until,
    wait_until_drawn,
    wait_until_run,
)

SCRIPT = Path(__file__).parent / "chart_page" / "chart_page.py"
OPTIONS = ("--server.enableStaticServing", "true", "--global.minCachedMessageSize", "1000")
CHARTS = 4
LOSS = "document.querySelector('.st-key-loss .lambdafit-chart')"
UPDATES = 5
MOST_UPDATE_BYTES = 12_000
MANY_UPDATES = 200
MOST_GROWTH = 1.2
"""Of the heap, where compiled code comes and goes: 19.5 to 24 MB over 4,000 updates, at its lowest after 3,000."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with streamlit_server(SCRIPT, None, *OPTIONS) as started:
        yield started


@pytest.fixture
def page(watch: Watch, server: Server) -> Any:
    open_page(watch.page, server)
    wait_until_drawn(watch.page, CHARTS)
    return watch.page


def drag_zoom(page: Any, first: float, last: float) -> None:
    """Drags over the loss chart, from one part of its width to another."""
    box = page.locator(".st-key-loss .nsewdrag").first.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + first * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + (first + last) / 2 * box["width"], middle, steps=4)
    page.mouse.move(box["x"] + last * box["width"], middle, steps=4)
    page.mouse.up()


def shown_range(page: Any) -> list[float]:
    return [float(end) for end in page.evaluate(f"{LOSS}.layout.xaxis.range")]


def next_steps(page: Any, steps: int) -> None:
    page.get_by_role("button", name="Next").click()
    page.get_by_text(f"{steps} steps", exact=True).wait_for()
    wait_until_run(page)


def wait_for_returned(page: Any, text: str) -> None:
    wait_until(page, "text => document.body.innerText.includes(text)", f"returned {text}")
    wait_until_run(page)


def forget_missing(watch: Watch) -> None:
    """Takes note that files were missing on purpose."""
    watch.errors[:] = [error for error in watch.errors if "404" not in error]
    watch.failed[:] = [failure for failure in watch.failed if "404" not in failure]


def test_a_zoom_and_its_node_survive_live_updates(page: Any) -> None:
    page.evaluate(f"window.nodeBefore = {LOSS}")
    drag_zoom(page, 0.25, 0.5)
    wait_for_returned(page, "(")
    zoomed = shown_range(page)
    for update in range(1, UPDATES + 1):
        next_steps(page, 200 + 20 * update)
        assert shown_range(page) == zoomed
    assert page.evaluate(f"window.nodeBefore === {LOSS}")
    assert page.evaluate(f"{LOSS}.getAttribute('aria-label')").endswith("300 steps.")


def test_a_zoom_reaches_python_and_a_double_click_takes_it_back(page: Any) -> None:
    assert page.get_by_text("returned None").count() == 1
    assert page.get_by_text("100 of 200 points").count() == 1
    drag_zoom(page, 0.25, 0.5)
    wait_for_returned(page, "(")
    low, high = shown_range(page)
    returned = page.get_by_text("returned (").inner_text().removeprefix("returned (").removesuffix(")").split(", ")
    assert [float(end) for end in returned] == pytest.approx([low, high])
    assert 30 < low < 70 and 80 < high < 120
    assert page.get_by_text("100 of 200 points").count() == 0
    page.locator(".st-key-loss .nsewdrag").first.dblclick()
    wait_for_returned(page, "None")
    low, high = shown_range(page)
    assert low <= 0 and high >= 199


def test_without_a_zoom_the_axis_grows_with_the_run(page: Any) -> None:
    next_steps(page, 220)
    wait_until(page, f"{LOSS}.layout.xaxis.range[1] >= 219")


def test_an_update_while_dragging_waits_for_the_end_of_the_drag(page: Any) -> None:
    box = page.locator(".st-key-loss .nsewdrag").first.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.2 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.4 * box["width"], middle, steps=4)
    page.evaluate("[...document.querySelectorAll('button')].find((b) => b.innerText === 'Next').click()")
    page.get_by_text("220 steps", exact=True).wait_for()
    wait_until_run(page)
    page.mouse.move(box["x"] + 0.6 * box["width"], middle, steps=4)
    page.mouse.up()
    wait_for_returned(page, "(")
    low, high = shown_range(page)
    assert 25 < low < 55 and 105 < high < 135


def test_what_has_not_changed_is_not_drawn_again(page: Any) -> None:
    page.evaluate(
        "() => { window.drawn = []; const react = Plotly.react; Plotly.react = (node, ...rest) => {"
        " window.drawn.push(node.getAttribute('aria-label')); return react(node, ...rest); }; }"
    )
    next_steps(page, 220)
    wait_until(page, "window.drawn.length > 0")
    assert page.evaluate("window.drawn.length") == 1, "only the chart with new steps"


def test_table_and_download_hold_everything(page: Any) -> None:
    page.locator(".st-key-loss_table").wait_for(state="detached")
    page.get_by_role("button", name="more_horiz").first.click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the data").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0] == "step,loss" and len(lines) == 201
    page.get_by_text("Show as table").click()
    page.get_by_test_id("stDataFrame").wait_for()


def test_the_chart_follows_its_width(page: Any) -> None:
    page.set_viewport_size({"width": 700, "height": 900})
    wait_until(page, f"{LOSS}.querySelector('.main-svg').clientWidth === {LOSS}.clientWidth")


def test_charts_that_go_are_cleared_up(page: Any) -> None:
    page.evaluate(f"window.nodeBefore = {LOSS}")
    page.get_by_text("Without charts").click()
    page.locator(".lambdafit-chart").first.wait_for(state="detached")
    wait_until(page, "window.nodeBefore._fullLayout === undefined")
    page.get_by_text("Without charts").click()
    wait_until_drawn(page, CHARTS)


def test_memory_stays_flat_over_many_updates(page: Any) -> None:
    client = page.context.new_cdp_session(page)
    draw = (
        "async (count) => { const node = " + LOSS + "; for (let i = 0; i < count; i++) {"
        " const data = node.data.map((trace) => ({ ...trace, y: Float32Array.from(trace.y, (y) => y + 1e-4 * i) }));"
        " await Plotly.react(node, data, node.layout); } }"
    )

    def held() -> tuple[int, int, float]:
        client.send("HeapProfiler.collectGarbage")
        counters = client.send("Memory.getDOMCounters")
        return counters["nodes"], counters["jsEventListeners"], client.send("Runtime.getHeapUsage")["usedSize"]

    page.evaluate(draw, MANY_UPDATES // 4)
    nodes, listeners, heap_bytes = held()
    page.evaluate(draw, MANY_UPDATES)
    nodes_after, listeners_after, heap_bytes_after = held()
    assert (nodes_after, listeners_after) == (nodes, listeners)
    assert heap_bytes_after < MOST_GROWTH * heap_bytes


def test_plotly_is_fetched_once_and_kept(watch: Watch, server: Server, page: Any) -> None:
    assert sum("plotly.min.js" in url for url in watch.requests) == 1
    assert sum("plotly_chart.js" in url for url in watch.requests) == 1
    page.reload()
    wait_until_drawn(page, CHARTS)
    entries = page.evaluate("performance.getEntriesByType('resource').filter((e) => e.name.includes('plotly.min.js'))")
    assert [entry["transferSize"] for entry in entries] == [0], "from the browser's own cache"


def test_screenshot_light(page: Any) -> None:
    assert screenshot(page, "chart-light").stat().st_size > 0


def test_screenshot_dark(dark_watch: Watch, server: Server) -> None:
    open_page(dark_watch.page, server)
    wait_until_drawn(dark_watch.page, CHARTS)
    assert dark_watch.page.evaluate(f"{LOSS}.layout.font.color") == "#e6ebf1"
    assert screenshot(dark_watch.page, "chart-dark").stat().st_size > 0


def test_a_missing_plotly_is_said_in_words(watch: Watch, server: Server) -> None:
    watch.page.route("**/plotly.min.js*", lambda route: route.fulfill(status=404, body=""))
    open_page(watch.page, server)
    watch.page.get_by_text("plotly.js did not arrive").first.wait_for()
    forget_missing(watch)


def test_a_missing_script_is_said_in_words(watch: Watch, server: Server) -> None:
    watch.page.route("**/plotly_chart.js*", lambda route: route.fulfill(status=404, body=""))
    open_page(watch.page, server)
    watch.page.get_by_text("script did not arrive").first.wait_for()
    forget_missing(watch)


def test_an_update_sends_what_changed_and_little_else(watch: Watch, server: Server) -> None:
    received: list[int] = []
    watch.page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(len(frame))))
    open_page(watch.page, server)
    wait_until_drawn(watch.page, CHARTS)
    received.clear()
    next_steps(watch.page, 220)
    assert 0 < sum(received) < MOST_UPDATE_BYTES
