"""A page of the dashboard in headless Chromium, and what it costs: bytes over the websocket, stalls, memory."""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
ARGUMENTS += ["--disable-dev-shm-usage", "--enable-precise-memory-info"]
SIZE: ViewportSize = {"width": 1280, "height": 900}
TIMEOUT_MS = 60_000
BINARY = 2  # opcode of a websocket frame

OBSERVE = """
(() => {
  const UNFINISHED = "[data-stale=true], [data-testid=stSkeleton]";
  const seen = window.bench = { tasks: [], frames: [], readyAt: 0, charts: 0, last: 0 };
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) seen.tasks.push([entry.startTime, entry.duration]);
  }).observe({ type: "longtask", buffered: true });
  const isReady = () => {
    const app = document.querySelector("[data-testid=stApp]");
    if (app?.dataset.testScriptState !== "notRunning" || document.querySelector(UNFINISHED)) return false;
    const charts = [...document.querySelectorAll(".lambdafit-chart")];
    return charts.length >= seen.charts && charts.every((node) => node.querySelector(".main-svg"))
      && document.querySelectorAll("[data-testid=stElementContainer]").length > 2;
  };
  const frame = (now) => {
    if (seen.last) seen.frames.push([seen.last, now - seen.last]);
    seen.last = now;
    if (!seen.readyAt && isReady()) seen.readyAt = performance.now();
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})();
"""
FORGET = "() => { bench.tasks = []; bench.frames = []; }"
REMEMBER = "(s) => { bench.before = document.querySelector(s)?.data; bench.chart = s; }"
IS_NEWER = """
() => document.querySelector(bench.chart)?.data !== bench.before
  && document.querySelector("[data-testid=stApp]").dataset.testScriptState === "notRunning"
"""


class Paint(NamedTuple):
    """Ms from the navigation until a page is drawn, and what they went to.

    Args:
        asking_ms: until the browser has Streamlit's scripts, and asks for the page.
        answering_ms: until the server has sent all of it; the browser draws beside it.
        drawing_ms: until all charts are drawn, and the page's script is done.
    """

    whole_ms: float
    asking_ms: float
    answering_ms: float
    drawing_ms: float


class Frame(NamedTuple):
    """A message that the server sent: when it came (s), its size, and what kind it is by Streamlit's own word."""

    at_s: float
    size_bytes: int
    kind: str


class Stall(NamedTuple):
    """What kept the page's main thread, in ms: the longest task (0 below 50), the longest wait for a frame, all of its
    time on a processor, whatever else the machine does."""

    task_ms: float
    frame_ms: float
    processor_ms: float


class WatchedPage:
    """A page whose network and main thread are watched.

    Args:
        charts: so many charts a page is to have before it counts as drawn.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.frames: list[Frame] = []
        page.set_default_timeout(TIMEOUT_MS)
        page.add_init_script(OBSERVE)
        self._client = page.context.new_cdp_session(page)
        self._client.on("Network.requestWillBeSent", self._requested)
        self._client.on("Network.webSocketFrameSent", self._sent)
        self._client.on("Network.webSocketFrameReceived", self._received)
        self._client.send("Network.enable")
        self._client.send("Performance.enable")
        self._processor_s = 0.0
        self._navigated_s = self._asked_s = 0.0

    def open(self, url: str, charts: int) -> Paint:
        """Go to a page, and wait until all its charts are drawn and its script is done."""
        self.frames.clear()
        self._navigated_s = self._asked_s = 0.0
        self.page.goto(url, wait_until="commit")
        self.page.evaluate("(charts) => { bench.charts = charts; bench.readyAt = 0; }", charts)
        whole_ms = float(self.page.wait_for_function("() => bench.readyAt", polling=50).json_value())
        ended_s = next(frame.at_s for frame in self.frames if frame.kind == "script_finished")
        asking_ms = (self._asked_s - self._navigated_s) * 1000
        answered_ms = (ended_s - self._navigated_s) * 1000
        return Paint(whole_ms, asking_ms, answered_ms - asking_ms, whole_ms - answered_ms)

    def begin(self, chart: str = "body") -> None:
        """Forget what was; `wait_until_redrawn` waits for another drawing of this chart than the present one."""
        self.frames.clear()
        self.page.evaluate(REMEMBER, chart)
        self._processor_s = self._metric("ThreadTime")
        self.page.evaluate(FORGET)

    def stall(self) -> Stall:
        """What kept the main thread since `begin`."""
        processor_ms = (self._metric("ThreadTime") - self._processor_s) * 1000
        # Long tasks are told in a task of their own, after the next frame.
        found = self.page.evaluate(
            "() => new Promise((done) => setTimeout(() => done([bench.tasks, bench.frames]), 200))"
        )
        tasks, frames = ([duration for _, duration in entries] for entries in found)
        return Stall(max(tasks, default=0.0), max(frames, default=0.0), processor_ms)

    def wait_until_redrawn(self) -> None:
        """Wait until the chart shows something else, and the page's script is done."""
        self.page.wait_for_function(IS_NEWER, polling=100)

    def wait(self, seconds: float) -> None:
        """Let time pass, and take in what the browser tells meanwhile."""
        self.page.wait_for_timeout(seconds * 1000)

    def heap_bytes(self) -> float:
        """What the page's scripts hold, after a collection of what they do not, and without what is noted here."""
        self.page.evaluate(FORGET)
        self._client.send("HeapProfiler.collectGarbage")
        return self._metric("JSHeapUsedSize")

    def received_bytes(self) -> int:
        """Over the websocket since `begin`."""
        return sum(frame.size_bytes for frame in self.frames)

    def received_kinds(self) -> dict[str, int]:
        """How many messages of which kind since `begin`."""
        return dict(Counter(frame.kind for frame in self.frames))

    def _metric(self, name: str) -> float:
        metrics = self._client.send("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in metrics if one["name"] == name))

    def _requested(self, event: Any) -> None:
        self._navigated_s = self._navigated_s or event["timestamp"]

    def _sent(self, event: Any) -> None:
        self._asked_s = self._asked_s or event["timestamp"]

    def _received(self, event: Any) -> None:
        response = event["response"]
        payload = response["payloadData"]
        data = base64.b64decode(payload) if response["opcode"] == BINARY else payload.encode()
        self.frames.append(Frame(event["timestamp"], len(data), _kind(data)))


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's, or Playwright's own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_path(), args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def kept_profile(browser: Browser) -> Iterator[BrowserContext]:
    """Another browser like it, with a profile on the disk, as users have one: it keeps files, and scripts compiled.

    A context of `browser` itself compiles plotly.js anew each time, which takes a second.
    """
    with tempfile.TemporaryDirectory(prefix="lambdafit-profile-") as folder:
        launch = browser.browser_type.launch_persistent_context
        context = launch(folder, executable_path=_path(), args=ARGUMENTS, viewport=SIZE)
        try:
            yield context
        finally:
            context.close()


def _path() -> str | None:
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def _kind(data: bytes) -> str:
    message = ForwardMsg()
    try:
        message.ParseFromString(data)
    except ValueError:
        return "other"
    kind = message.WhichOneof("type")
    # An element, or the empty block that Streamlit sends with each look of a fragment.
    return str((message.delta.WhichOneof("type") if kind == "delta" else kind) or "other")
