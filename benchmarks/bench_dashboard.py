"""What the dashboard costs with a run of 64 workers × 10,000 steps: first paint, live updates, ticks, memory.

The real server over a home with a recorded run that goes on while it is watched, in headless Chromium.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from playwright.sync_api import Browser

import harness

sys.path.insert(0, str(harness.ROOT))

from benchmarks.made_shape import Shape
from benchmarks.recorded_run import LiveRun, record
from benchmarks.watched_page import SIZE, WatchedPage, chromium, kept_profile
from dashboard.options import Options
from dashboard.queries.collector import Collector
from dashboard.queries.source import open_source

PAINT_WANTED_MS = 2_000.0
TICK_WANTED_MS = 20.0
FLAT = 0.1
UPDATE_EVERY_S = 2.0
SAMPLE_EVERY_S = 10.0
START_S = 90.0
WARMING_VISITS = 2
"""Chromium keeps a script compiled from its second visit on, and takes its time for it."""

WARMING_S = 3.0
FIFTH = 5
MEGABYTE = 1e6
KILOBYTE = 1e3


class Paged(NamedTuple):
    """A page, its address, and how many charts it draws."""

    name: str
    address: str
    charts: int


PAGES = (
    Paged("runs", "", 0),
    Paged("new_run", "new_run", 0),
    Paged("convergence", "convergence", 2),
    Paged("workers", "workers", 3),
    Paged("predictions", "predictions", 1),
    Paged("cost", "cost", 2),
    Paged("compare", "compare", 1),
)


class Watched(NamedTuple):
    """A page over which updates come: its chart that is waited for, and the goals."""

    name: str
    charts: int
    chart: str
    stall_wanted_ms: float
    bytes_wanted: float | None


class Server(NamedTuple):
    """The running dashboard: its address, and the process of Streamlit itself."""

    url: str
    process: psutil.Process


@contextmanager
def dashboard(home: Path) -> Iterator[Server]:
    """`lambdafit dashboard` over a home."""
    command = [*harness.cli(), "dashboard", "--port", "0", "--no-open"]
    with subprocess.Popen(
        command,
        env=harness.variables(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().decode().strip()  # ends empty where the server does not come up
            if not url.startswith("http"):
                raise harness.ChildFailed("the dashboard did not come up")
            yield Server(url, psutil.Process(process.pid).children()[0])
        finally:
            process.terminate()  # ends Streamlit, too
            process.wait(START_S)


def paints(browser: Browser, server: Server, run_id: str, repetitions: int) -> dict[str, list[dict[str, float]]]:
    """What each of some paints took, see `WatchedPage.open`, with a warm server and a warm browser, by page."""
    found: dict[str, list[dict[str, float]]] = {paged.name: [] for paged in PAGES}
    with kept_profile(browser) as context:
        for visit in range(WARMING_VISITS + repetitions):
            for paged in PAGES:
                page = context.new_page()
                query = f"run={run_id}" if paged.name != "compare" else f"run={run_id}&runs={run_id},{other_of(run_id)}"
                watched = WatchedPage(page)
                paint = watched.open(f"{server.url}{paged.address}?{query}", paged.charts)
                if visit < WARMING_VISITS:
                    watched.wait(WARMING_S)
                else:
                    found[paged.name].append(paint._asdict())
                page.close()
    return found


def updates(browser: Browser, server: Server, live: LiveRun, watched: Watched, options: Any) -> list[dict[str, Any]]:
    """What each of some live updates costs a page."""
    context = browser.new_context(viewport=SIZE)
    page = WatchedPage(context.new_page())
    page.open(f"{server.url}{watched.name}?run={live.run_id}", watched.charts)
    page.wait(1.0)
    found: list[dict[str, Any]] = []
    for _ in range(options.updates + 1):
        page.begin(watched.chart)
        began = time.perf_counter()
        live.advance(options.update_steps)
        page.wait_until_redrawn()
        took_s = time.perf_counter() - began
        stall = page.stall()
        found.append(
            {
                "task_ms": stall.task_ms,
                "frame_ms": stall.frame_ms,
                "processor_ms": stall.processor_ms,
                "bytes": page.received_bytes(),
                "kinds": page.received_kinds(),
                "shown_after_s": took_s,
            }
        )
    context.close()
    return found[1:]  # the first one compiles what later ones run


def quiet(browser: Browser, server: Server, run_id: str, name: str, charts: int, seconds: float) -> dict[str, Any]:
    """What is sent while nothing changes."""
    context = browser.new_context(viewport=SIZE)
    page = WatchedPage(context.new_page())
    page.open(f"{server.url}{name}?run={run_id}", charts)
    page.wait(3.0)
    page.begin()
    page.wait(seconds)
    found = {"bytes": page.received_bytes(), "kinds": page.received_kinds(), "seconds": seconds}
    context.close()
    return found


def ticks(home: Path, live: LiveRun, repetitions: int, steps: int) -> list[float]:
    """Ms of a look at the run after each update, in this process."""
    collector = Collector(open_source(Options(home=str(home))), least_s=0.0)
    collector.look(live.run_id)
    found = []
    for _ in range(repetitions):
        live.advance(steps)
        began = time.perf_counter()
        collector.look(live.run_id)
        found.append((time.perf_counter() - began) * 1000)
    collector.close()
    return found


def soak(browser: Browser, server: Server, live: LiveRun, watched: Watched, options: Any) -> list[dict[str, float]]:
    """Memory of server and page while updates come, each 10 s."""
    context = browser.new_context(viewport=SIZE)
    page = WatchedPage(context.new_page())
    page.open(f"{server.url}{watched.name}?run={live.run_id}", watched.charts)
    began, found = time.monotonic(), []
    next_sample, next_update = began + SAMPLE_EVERY_S, began
    while (now := time.monotonic()) < began + options.minutes * 60:
        if now >= next_update:
            live.advance(options.soak_steps)
            next_update += UPDATE_EVERY_S
        if now >= next_sample:
            found.append(
                {
                    "at_s": now - began,
                    "rss_bytes": float(server.process.memory_info().rss),
                    "heap_bytes": page.heap_bytes(),
                }
            )
            next_sample += SAMPLE_EVERY_S
        page.wait(max(0.01, min(next_update, next_sample) - time.monotonic()))
        page.frames.clear()
    context.close()
    return found


def growth(samples: list[dict[str, float]], what: str) -> float:
    """The last fifth's median of the first fifth's, less one; NaN of nothing."""
    count = max(1, len(samples) // FIFTH)
    first, last = (harness.median(one[what] for one in part) for part in (samples[:count], samples[-count:]))
    return last / first - 1


def other_of(run_id: str) -> str:
    """The second run, for comparing."""
    return f"{run_id}b"


def main() -> None:
    """Run it."""
    parser = harness.parser(__doc__)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=100, help="recorded before anybody looks, of 100 steps each")
    parser.add_argument("--paints", type=int, default=10, help="of each page")
    parser.add_argument("--updates", type=int, default=20, help="on each page")
    parser.add_argument("--update-steps", type=int, default=20, help="of each worker, in one update")
    parser.add_argument("--ticks", type=int, default=100)
    parser.add_argument("--quiet-s", type=float, default=10.0)
    parser.add_argument("--minutes", type=float, default=30.0, help="of live updates, for the memory")
    parser.add_argument("--soak-steps", type=int, default=20, help="of each worker, every 2 s of those minutes")
    options = parser.parse_args()
    if options.quick:
        options.paints, options.updates, options.ticks, options.minutes = 3, 10, 30, min(1.0, options.minutes)
    result = harness.begin("dashboard", options)
    with tempfile.TemporaryDirectory(prefix="lambdafit-dashboard-") as folder:
        measure(Path(folder) / "home", options, result)
    result.finish(harness.output_folder(options))


def recorded(home: Path, options: argparse.Namespace) -> LiveRun:
    """The run that is watched, with room for all updates, and a smaller finished one."""
    steps = 2 * (options.updates + 2) * options.update_steps + options.ticks * options.update_steps
    steps += int(options.minutes * 60 / UPDATE_EVERY_S + 10) * options.soak_steps
    shape = Shape(run_id="r-bench00001", workers=options.workers)
    more = steps // shape.steps_per_round + 10
    record(home, Shape(run_id=other_of(shape.run_id), workers=4, rounds=10, steps_per_round=20, seed=1))
    return LiveRun(home, shape._replace(rounds=options.rounds + more), rounds_done=options.rounds)


def measure(home: Path, options: argparse.Namespace, result: harness.Result) -> None:
    """Everything, one after the other."""
    began = time.perf_counter()
    live = recorded(home, options)
    result.raw["recorded_in_s"] = time.perf_counter() - began
    watched = (
        Watched("convergence", 2, ".st-key-convergence_loss_step .lambdafit-chart", 100.0, 100_000.0),
        Watched("workers", 3, f".st-key-workers_raster_{live.run_id} .lambdafit-chart", 250.0, None),
    )
    with live, dashboard(home) as server, chromium() as browser:
        result.raw["chromium"] = browser.version
        result.raw["paint_ms"] = paints(browser, server, live.run_id, options.paints)
        report_paints(result)
        result.raw["updates"] = {one.name: updates(browser, server, live, one, options) for one in watched}
        report_updates(result, watched)
        result.raw["quiet"] = {
            one.name: quiet(browser, server, live.run_id, one.name, one.charts, options.quiet_s) for one in watched
        }
        report_quiet(result)
        result.raw["tick_ms"] = ticks(home, live, options.ticks, options.update_steps)
        report_ticks(result)
        result.raw["soak"] = soak(browser, server, live, watched[0], options)
        report_soak(result, options.minutes)


def report_paints(result: harness.Result) -> None:
    """The table and goal of the first paint."""
    parts = ("asking_ms", "answering_ms", "drawing_ms")
    rows = [["ms until drawn, warm", "median", "least", "most", "until it asks", "server", "drawing"]]
    for name, paints in result.raw["paint_ms"].items():
        values = [paint["whole_ms"] for paint in paints]
        shares = [harness.median(paint[part] for paint in paints) for part in parts]
        figures = (harness.median(values), min(values), max(values), *shares)
        rows.append([name, *(f"{value:,.0f}" for value in figures)])
    result.table("From the navigation", rows)
    found = harness.median(paint["whole_ms"] for paint in result.raw["paint_ms"]["convergence"])
    result.goal(
        "first paint of the convergence page",
        f"{found:,.0f} ms",
        f"<= {PAINT_WANTED_MS:,.0f} ms",
        found <= PAINT_WANTED_MS,
    )


def report_updates(result: harness.Result, watched: tuple[Watched, ...]) -> None:
    """The table and goals of a live update."""
    rows = [["one live update", "page", "median", "most"]]
    for one in watched:
        found = result.raw["updates"][one.name]
        columns = {
            "longest task, ms (0: below 50)": [update["task_ms"] for update in found],
            "longest wait for a frame, ms": [update["frame_ms"] for update in found],
            "main thread on a processor, ms": [update["processor_ms"] for update in found],
            "received, kB": [update["bytes"] / KILOBYTE for update in found],
            "shown after, s": [update["shown_after_s"] for update in found],
        }
        for what, values in columns.items():
            rows.append([what, one.name, f"{harness.median(values):,.1f}", f"{max(values):,.1f}"])
        stall_ms = harness.median(columns["longest task, ms (0: below 50)"])
        wanted = f"<= {one.stall_wanted_ms:g} ms"
        result.goal(f"stall of an update, {one.name}", f"{stall_ms:.0f} ms", wanted, stall_ms <= one.stall_wanted_ms)
        if one.bytes_wanted is not None:
            size = harness.median(update["bytes"] for update in found)
            wanted = f"<= {one.bytes_wanted / KILOBYTE:g} kB"
            result.goal(
                f"bytes of an update, {one.name}", f"{size / KILOBYTE:.0f} kB", wanted, size <= one.bytes_wanted
            )
    result.table("A live update of 20 steps a worker", rows)


def report_quiet(result: harness.Result) -> None:
    """The table and goal of a page over which nothing happens."""
    rows = [["while nothing changes", "seconds", "bytes", "elements", "messages"]]
    elements = 0
    for name, found in result.raw["quiet"].items():
        kinds = found["kinds"]
        elements += kinds.get("new_element", 0)
        rows.append([name, f"{found['seconds']:g}", found["bytes"], kinds.get("new_element", 0), sum(kinds.values())])
    result.table("Quiet", rows)
    result.goal("elements sent while nothing changes", f"{elements}", "0", elements == 0)


def report_ticks(result: harness.Result) -> None:
    """The table and goal of a tick's query."""
    values = sorted(result.raw["tick_ms"])
    late = values[int(0.95 * (len(values) - 1))]
    rows = [["a tick's query, ms", "median", "95 %", "most"]]
    result.table("Query", [*rows, ["SQLite", *(f"{one:.1f}" for one in (harness.median(values), late, values[-1]))]])
    result.goal("a tick's query, 95 % of them", f"{late:.1f} ms", f"<= {TICK_WANTED_MS:g} ms", late <= TICK_WANTED_MS)


def report_soak(result: harness.Result, minutes: float) -> None:
    """The table and goals of memory over time."""
    samples = result.raw["soak"]
    rows = [[f"memory over {minutes:g} minutes of updates, MB", "first fifth", "last fifth", "most", "growth"]]
    count = max(1, len(samples) // FIFTH)
    for what, key in (("server", "rss_bytes"), ("scripts of the page", "heap_bytes")):
        ends = [harness.median(one[key] for one in part) / MEGABYTE for part in (samples[:count], samples[-count:])]
        most = max(one[key] for one in samples) / MEGABYTE
        grown = growth(samples, key)
        rows.append([what, *(f"{value:,.1f}" for value in (*ends, most)), f"{grown:+.1%}"])
        result.goal(
            f"memory of the {what} over {minutes:g} minutes", f"{grown:+.1%}", f"within {FLAT:.0%}", grown <= FLAT
        )
    result.table("Memory", rows)


if __name__ == "__main__":
    main()
