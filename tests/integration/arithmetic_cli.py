"""The command line with the engine tests' functions: real processes, training replaced by arithmetic."""

from __future__ import annotations

import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS.parent / "src"), str(TESTS), str(TESTS / "integration")]

from cli import detached  # noqa: E402 - the path comes first
from cli.main import main  # noqa: E402
from engines.local import HANDLERS  # noqa: E402

if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), str(TESTS / "integration")])
    HANDLERS.update(dict.fromkeys(HANDLERS, "arithmetic_handlers.handler"))
    detached.PROGRAM = (__file__,)
    main(prog_name="lambdafit")
