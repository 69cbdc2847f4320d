"""One page alone, as it shows one made run: no store, no command."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.queries.collector import RunsSnapshot
from dashboard.queries.run_data import RunSnapshot

PAGES = Path(__file__).parents[3] / "dashboard" / "app_pages"


class ShownRun:
    """In place of the collector: whatever run is asked for, it is `snapshot`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.snapshot: RunSnapshot | None = None
        monkeypatch.setattr("dashboard.parts.page._collector", lambda _options_json: self)

    def find(self, _name: str) -> str:
        return self.look("").run.run_id

    def look(self, _run_id: str) -> RunSnapshot:
        assert self.snapshot is not None
        return self.snapshot

    def runs(self) -> RunsSnapshot:
        run = self.look("").run
        return RunsSnapshot((run,), run.version, 0.0, frozenset())

    def open(self, page: str, snapshot: RunSnapshot) -> AppTest:
        """The page, by its file's name without `.py`, with that run."""
        self.snapshot = snapshot
        return open_page(page)


def open_page(name: str) -> AppTest:
    """A page with the newest run; it must not raise."""
    page = AppTest.from_file(str(PAGES / f"{name}.py"), default_timeout=20)
    page.query_params["run"] = "latest"
    page.run()
    assert not page.exception
    return page


def texts(page: AppTest) -> str:
    """Everything that is said on the page, without the strokes that keep Markdown off it."""
    elements = [*page.markdown, *page.caption, *page.error, *page.subheader]
    said = [str(element.value) for element in elements]
    said += [element.proto.text for element in page.get("progress")]
    said += [expander.label for expander in page.expander]
    return "\n".join(said).replace("\\", "")
