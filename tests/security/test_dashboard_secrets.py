"""What the dashboard's pages send to a browser: none of the secrets in the server's environment."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from security.test_private_files import CANARIES, SECRETS
from unit.dashboard.dashboard_samples import sample_home

PAGES = sorted((Path(__file__).parents[2] / "dashboard" / "app_pages").glob("[a-z]*.py"))


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
@pytest.mark.parametrize("state", ["finished", "failed"])
def test_a_page(page: Path, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("LAMBDAFIT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("dashboard.actions.commands.run_process", lambda *_: pytest.fail("no command is wanted"))
    sample_home(tmp_path / "home", state)  # type: ignore[arg-type]
    shown = AppTest.from_file(str(page), default_timeout=60)
    shown.query_params["run"] = "latest"
    shown.run()
    sent = repr(shown._tree) + "".join(str(element.proto) for element in shown.main if hasattr(element, "proto"))
    assert len(sent) > 200
    assert not any(word in sent for word in CANARIES)
