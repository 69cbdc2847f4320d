"""Shared by all tests: where the real data lie."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from rehearsal.fixtures import rehearsed_calls as rehearsed_calls
from rehearsal.fixtures import stage as stage

# A shell ignores Ctrl-C in what it runs in the background. Tests send it to commands, which must hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets; the test is skipped where there is none."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("LAMBDAFIT_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}; set LAMBDAFIT_DATA to run this test")
    return folder
