"""One browser for each file of tests; each test has a page of its own and fails if the page asked another host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from browser.browser_page import BROWSER_ARGUMENTS, Watch, browser_path

SIZE = {"width": 1280, "height": 900}
FORGET = "() => { localStorage.clear(); sessionStorage.clear(); }"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium, Debian's or Playwright's own, with a folder of its own; skips where there is none.

    From the third visit on, a folder keeps scripts compiled, which contexts made in memory do not: a page of the
    dashboard then takes half the processor time.
    """
    api = pytest.importorskip("playwright.sync_api", reason="browser tests need Playwright")
    with api.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch_persistent_context(
                tmp_path_factory.mktemp("browser"),
                executable_path=browser_path(),
                args=list(BROWSER_ARGUMENTS),
                viewport=SIZE,
            )
        except api.Error as error:
            pytest.skip(f"browser tests need Chromium: {str(error).splitlines()[0]}")
        yield started
        started.close()


@contextmanager
def watched_page(browser: Any, theme: str) -> Iterator[Watch]:
    """A page for someone who prefers this theme, and little motion.

    In the end it must have asked nobody else and logged no error.
    """
    page = browser.new_page()
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    watched = Watch(page)
    yield watched
    if not page.is_closed() and page.url.startswith("http"):
        page.evaluate(FORGET)
    page.close()
    browser.clear_cookies()
    watched.check()


@pytest.fixture
def watch(browser: Any) -> Iterator[Watch]:
    """A fresh page (`watch.page`); see `watched_page`."""
    with watched_page(browser, "light") as watched:
        yield watched


@pytest.fixture
def dark_watch(browser: Any) -> Iterator[Watch]:
    """As `watch`, for someone who prefers dark pages."""
    with watched_page(browser, "dark") as watched:
        yield watched
