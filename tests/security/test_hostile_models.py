"""`.keras` files made to run code, to read files or to reach the network: Keras's safe mode, and what is before it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
LIMIT_S = 240


def test_no_model_does_what_it_wants() -> None:
    path = os.pathsep.join(str(CHECKOUT / folder) for folder in ("src", ".", "tests"))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-P", "-m", "security.load_hostile_models"], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}, check=True, timeout=LIMIT_S,
    )  # fmt: skip
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("whole") == "loaded"
    assert len(found) == 14
    assert {name: said for name, said in found.items() if not said.startswith("refused: ")} == {}
