"""One browser for all browser tests; each test has a context of its own and fails if the page asked another host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from browser.browser_page import BROWSER_ARGUMENTS, Watch, browser_path

SIZE = {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium: Debian's, or Playwright's own. Skips where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="browser tests need Playwright")
    with api.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=browser_path(), args=list(BROWSER_ARGUMENTS))
        except api.Error as error:
            pytest.skip(f"browser tests need Chromium: {str(error).splitlines()[0]}")
        yield started
        started.close()


@pytest.fixture
def watch(browser: Any) -> Iterator[Watch]:
    """A fresh page (`watch.page`); at the end of the test it must have asked nobody else and logged no error."""
    context = browser.new_context(viewport=SIZE, color_scheme="light")
    watched = Watch(context.new_page())
    yield watched
    context.close()
    watched.check()


@pytest.fixture
def dark_watch(browser: Any) -> Iterator[Watch]:
    """As `watch`, for someone who prefers dark pages."""
    context = browser.new_context(viewport=SIZE, color_scheme="dark")
    watched = Watch(context.new_page())
    yield watched
    context.close()
    watched.check()
