"""What people do on the dashboard's pages, and what they then look for: for tests with a real browser."""

from __future__ import annotations

from typing import Any

from browser.browser_page import wait_until

PAGES = {"runs": ""} | {name: name for name in ("new_run", "convergence", "workers", "predictions", "cost", "compare")}
"""Each page's address, by its name."""

PATIENCE_MS = 60_000
"""Far more than anything takes on a machine with nothing else to do."""

STATUS = ".run-strip .status"
LOSS = ".st-key-convergence_loss_step .lambdafit-chart"
EXCEPTION = "[data-testid=stException]"
CHART_READY = "node => node && node._fullLayout && node.querySelector('.main-svg')"
NEWEST_X = """
selector => {
  const node = document.querySelector(selector);
  const values = (node?.data ?? []).flatMap((trace) => Array.from(trace.x ?? []));
  return Math.max(-1, ...values.filter(Number.isFinite));
}
"""


def open_dashboard(page: Any, url: str) -> None:
    """Goes to a page and waits until Streamlit has run it."""
    page.goto(url)
    wait_until_quiet(page)


def wait_until_quiet(page: Any) -> None:
    """Waits until nothing is left of an earlier run of the script, every part has come, and every chart is drawn."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=PATIENCE_MS)
    wait_until(
        page,
        "() => !document.querySelector('[data-stale=true], [data-testid=stSkeleton]')"
        " && [...document.querySelectorAll('.lambdafit-chart')].every((node) => node._fullLayout)",
    )


def wait_for_status(page: Any, status: str, timeout_s: float = 60.0) -> None:
    """Waits until the line over the page says so: `finished`, `stopped`, …."""
    wait_until(
        page,
        "([selector, status]) => document.querySelector(selector)?.textContent.endsWith(status)",
        [STATUS, status],
        timeout_s * 1000,
    )


def newest_x(page: Any, selector: str = LOSS) -> float:
    """The largest x that a chart shows; -1 where it shows none."""
    return float(page.evaluate(NEWEST_X, selector))


def wait_for_newer(page: Any, before: float, selector: str = LOSS) -> float:
    """Waits until a chart shows more than it did before; gives its largest x."""
    wait_until(page, f"([selector, before]) => ({NEWEST_X})(selector) > before", [selector, before], PATIENCE_MS)
    return newest_x(page, selector)


def drag_over(page: Any, selector: str, first: float, last: float) -> None:
    """Drags over a chart, from one part of its width to another."""
    box = page.locator(f"{selector} .nsewdrag").first.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + first * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + (first + last) / 2 * box["width"], middle, steps=4)
    page.mouse.move(box["x"] + last * box["width"], middle, steps=4)
    page.mouse.up()


def x_range(page: Any, selector: str = LOSS) -> list[float]:
    """The ends of a chart's x axis."""
    return [float(end) for end in page.evaluate("s => document.querySelector(s).layout.xaxis.range", selector)]


def mark(page: Any) -> None:
    """Leaves a mark that a reload would take away."""
    page.evaluate("window.lambdafitMark = true")


def was_reloaded(page: Any) -> bool:
    """Whether the page was loaded anew since it was marked."""
    return not page.evaluate("window.lambdafitMark === true")


def wait_for_address(page: Any, part: str) -> None:
    """Waits until the address holds this; pages change it without a navigation."""
    wait_until(page, "part => location.href.includes(part)", part, PATIENCE_MS)
