"""Wakes a function without work: `{"probe": true}` is answered at once, without TensorFlow.

Functions in a VPC that nobody has called for weeks have lost their network interfaces; a probe before a run has them
made again, and tells whether the file system is there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from contracts.errors import LambdafitError
from contracts.messages import is_probe
from handlers import wiring
from runs.code_version import code_version

NO_LIBRARIES = "none"
FOLDER = "probes"


def answer_probe(function: str, libraries: str = NO_LIBRARIES) -> dict[str, Any]:
    """What a function says of itself.

    Args:
        function: lambdafit's name of it, such as "train".
        libraries: the digest of the libraries that it would use, as far as it knows without loading them.
    """
    problem = _write_problem()
    answer: dict[str, Any] = {
        "probe": True,
        "function": function,
        "name": os.environ.get("AWS_LAMBDA_FUNCTION_NAME", ""),
        "shared_writable": not problem,
        "libraries": libraries or NO_LIBRARIES,
        "code_version": code_version(),
    }
    return answer | ({"problem": problem} if problem else {})


def probed(event: Mapping[str, Any], function: str) -> dict[str, Any] | None:
    """The answer to a probe; None where the event is work."""
    return answer_probe(function) if is_probe(event) else None


def _write_problem() -> str:
    """Why the shared files cannot be written; empty where they can."""
    services = wiring.services()
    path = f"{FOLDER}/{services.randomness.nonce()}"
    try:
        services.files.write(path, [b"probe"], durable=False)
        services.files.remove(path)
    except LambdafitError as error:
        return str(error.record())
    except OSError as error:
        return f"{type(error).__name__}: {error.strerror}"
    return ""
