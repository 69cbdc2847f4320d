"""The command line of a run that faults are done to: `lambdafit` with hooks at the gate."""

from __future__ import annotations

import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS.parent / "src"), str(TESTS)]

from cli.main import main  # noqa: E402 - the path comes first
from engines import local  # noqa: E402
from engines.local_lambda import variables  # noqa: E402
from faults import hooks  # noqa: E402
from runs import framework_versions  # noqa: E402
from training import feature_blocks  # noqa: E402


class GateEngine(local.LocalEngine):
    """Stops at the gate before each event that it sends."""

    def invoke(self, function: str, event: object) -> None:
        hooks.deliver(super().invoke, function, event)  # type: ignore[arg-type]


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = str(TESTS)
    hooks.install("conductor")
    if hooks.BACKBONE:
        framework_versions.digest_with = lambda *_: hooks.BACKBONE
        feature_blocks.BLOCK_ROWS = hooks.BLOCK_ROWS
    local.SqliteStore = hooks.GateStore  # type: ignore[misc]
    local.LocalEngine = GateEngine  # type: ignore[misc]
    local.HANDLERS.update(dict.fromkeys(local.HANDLERS, "faults.faulty_handlers.handler"))
    # A clock that is wrong for the whole machine is so for the functions' processes too.
    variables.INHERITED |= {
        "LD_PRELOAD",
        "FAKETIME_TIMESTAMP_FILE",
        "FAKETIME_NO_CACHE",
        "FAKETIME_DONT_FAKE_MONOTONIC",
    }
    main(prog_name="lambdafit")
