"""Which packages, in which versions, a worker's libraries consist of: `worker.txt`, which travels with the code."""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path

LOCK = Path(__file__).with_name("worker.txt")

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)\s*(?:;(?P<marker>[^\\\n]*))?", re.MULTILINE)
_MACHINE = re.compile(r"platform_machine (?P<sign>[!=]=) '(?P<machine>\w+)'")
MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
"""As Lambda and lambdafit call an architecture → as Linux and packages do."""


def this_architecture() -> str:
    """The processor here, as Lambda calls it."""
    machine = platform.machine()
    return "arm64" if machine in ("arm64", "aarch64") else machine


def this_python() -> str:
    """The Python that runs here, such as 3.13."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def pins(text: str, architecture: str) -> dict[str, str]:
    """Package → version of a hashed requirements file, as far as they are for that architecture.

    Raises:
        ValueError: a pin depends on something else than the architecture.
    """
    found = {}
    for match in _PIN.finditer(text):
        if _applies((match["marker"] or "").strip(), architecture):
            found[match["name"].lower().replace("_", "-")] = match["version"]
    return found


def lock_digest(text: str | None = None) -> str:
    """Tells two locks apart: of names and versions for all architectures, not of hashes and remarks."""
    lines = sorted(match[0].rstrip(" \\") for match in _PIN.finditer(LOCK.read_text() if text is None else text))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The packages in both whose versions differ: name → the two versions."""
    return {name: (one[name], other[name]) for name in sorted(one.keys() & other) if one[name] != other[name]}


def _applies(marker: str, architecture: str) -> bool:
    if not marker:
        return True
    match = _MACHINE.fullmatch(marker)
    if match is None:
        raise ValueError(f"the marker {marker!r} asks for something else than the architecture")
    return (match["machine"] == MACHINES[architecture]) == (match["sign"] == "==")
