"""What is installed: every version pinned with its hashes, under licences that may be used, from nowhere else."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
LOCKS = sorted([*(CHECKOUT / "requirements").glob("*.txt"), CHECKOUT / "layer/requirements.txt",
                CHECKOUT / "src/libraries/worker.txt"])  # fmt: skip
PIN = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[[\w,-]+\])?==(?P<version>[0-9][\w.!+]*)(?P<rest>.*)")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")

# By word, as packages spell the same licence in many ways. All of them let us use, change and ship what is under them;
# MPL's and LGPL's own files stay under them, and we change none.
ALLOWED = ("MIT", "BSD", "Apache", "PSF", "Python Software Foundation", "ISC", "0BSD", "Zlib", "HPND", "Unlicense",
           "CC0", "MPL", "Mozilla Public License 2.0", "MIT-CMU", "AFL")  # fmt: skip
FORBIDDEN = re.compile(
    r"\bA?GPL|Affero|GNU General Public|Commons Clause|SSPL|Business Source|Proprietary", re.IGNORECASE
)
SAYS_NOTHING = {
    "namex": "Apache 2.0, in its file LICENSE",
}
"""Packages whose metadata name no licence, and which it is."""


def entries(lock: Path) -> dict[str, list[str]]:
    """First line → all lines of each requirement."""
    found: dict[str, list[str]] = {}
    first = ""
    for line in lock.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith((" ", "#")):
            first = line
            found[first] = []
        if line.strip() and not line.startswith("#"):
            found[first].append(line)
    return found


def named(lock: Path) -> set[str]:
    """Its packages."""
    matches = (PIN.match(line) for line in entries(lock))
    return {match["name"].lower().replace("_", "-") for match in matches if match}


@pytest.mark.parametrize("lock", LOCKS, ids=[lock.parent.name + "/" + lock.name for lock in LOCKS])
def test_every_requirement_is_one_version_with_its_hashes(lock: Path) -> None:
    found = entries(lock)
    assert len(found) > 5
    for first, lines in found.items():
        assert PIN.match(first), first
        assert HASH.search(" ".join(lines)), first
        assert not re.search(r"://|--index-url|--find-links|--trusted-host|git\+|@ ", " ".join(lines)), first


def test_everything_that_pyproject_asks_for_is_locked() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = {re.split(r"[\[<>=; ]", text)[0].lower() for text in wanted}
    assert names <= named(CHECKOUT / "requirements/dev.txt")


def test_licences_are_allowed() -> None:
    """Of what is shipped or deployed; a package that is not for this system is not installed here."""
    shipped = named(CHECKOUT / "requirements/runtime.txt") | named(CHECKOUT / "layer/requirements.txt")
    looked_at = 0
    for name in sorted(shipped):
        try:
            metadata = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        looked_at += 1
        classifiers = [text for text in metadata.get_all("Classifier") or [] if text.startswith("License ::")]
        told = metadata.get("License-Expression") or " ".join(classifiers) or (metadata.get("License") or "")[:100]
        assert not FORBIDDEN.search(told.replace("LGPL", "")), f"{name}: {told}"
        if not told.strip():
            assert name in SAYS_NOTHING, f"{name} names no licence"
        else:
            assert any(re.search(rf"\b{re.escape(word)}", told) for word in ALLOWED), f"{name}: {told}"
    assert looked_at > 60


def test_installing_demands_the_hashes() -> None:
    setup = (CHECKOUT / "scripts/setup.sh").read_text()
    installs = [line for line in setup.splitlines() if re.search(r"\bpip (install|sync)\b", line)]
    assert installs
    assert "--require-hashes" in setup or "pip sync" in setup, "a lock with hashes is checked as a whole"
