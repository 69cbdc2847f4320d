"""The dashboard: `lambdafit dashboard`, or `streamlit run dashboard/streamlit_app.py`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # Streamlit puts this file's own folder there, not the one that the package lies in
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402

from contracts.errors import LambdafitError  # noqa: E402
from dashboard.chart.plotly_file import place_plotly  # noqa: E402
from dashboard.options import options_from  # noqa: E402
from dashboard.parts.access import admitted  # noqa: E402
from dashboard.parts.acting import show_news  # noqa: E402
from dashboard.parts.header import show_header  # noqa: E402
from dashboard.parts.live import look, watch  # noqa: E402
from dashboard.parts.messages import show_error  # noqa: E402
from dashboard.parts.page import go_to, page, take_next_run  # noqa: E402

# A file: for an icon by name the browser would ask a server elsewhere.
ICON = Path(__file__).with_name("icon.svg")

PAGES = (
    ("run_list", "Runs", ":material/list:"),
    ("new_run", "New run", ":material/add_circle:"),
    ("convergence", "Convergence", ":material/show_chart:"),
    ("workers", "Workers", ":material/view_timeline:"),
    ("predictions", "Predictions", ":material/image_search:"),
    ("cost", "Cost", ":material/payments:"),
    ("compare", "Compare", ":material/compare_arrows:"),
)


RUNS_PATH = "runs"
"""Where people look for the first page, which lies at the root."""

UNDRAWN_PATHS = frozenset({"", "new_run", RUNS_PATH})
"""Pages without charts."""

# Streamlit leaves room for a title that these pages do not have; its segmented controls are lower than its other
# fields, so that labels beside each other would not stand in one line.
STYLE = """<style>
[data-testid='stMainBlockContainer'] { padding-top: 4.2rem; padding-bottom: 2rem; }
[data-testid='stButtonGroup'] button { min-height: 2.5rem; }
</style>"""


def show() -> None:
    """One run of the script: header, page, and the look for news."""
    st.set_page_config(page_title="lambdafit", page_icon=str(ICON), layout="wide")
    st.html(STYLE)
    pages = [st.Page(f"app_pages/{name}.py", title=title, icon=icon) for name, title, icon in PAGES]
    pages.append(st.Page(_to_runs, title="Runs", url_path=RUNS_PATH, visibility="hidden"))
    chosen = st.navigation(pages, position="top")
    if not admitted(options_from(os.environ)):
        return
    try:
        _provide_plotly()
    except LambdafitError as error:
        show_error(error, again=True)
    opened = page()
    if opened is None:
        return
    take_next_run()
    seen = look(opened)
    snapshot = show_header(opened, draws=chosen.url_path not in UNDRAWN_PATHS)
    show_news()
    chosen.run()
    watch(opened, snapshot, seen)


def _to_runs() -> None:
    go_to("run_list")


@st.cache_resource(show_spinner=False)
def _provide_plotly() -> None:
    """Once a process: the file is 5 MB."""
    place_plotly()


show()
