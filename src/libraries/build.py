"""Builds the archive of what a worker needs to train: `python -m libraries.build --architecture x86_64`.

Installs the packages pinned in `worker.txt` for Lambda's Linux and Python, whatever machine this is, leaves out what
the layer brings and what `trim` names, compiles the modules and packs all of it. The same pins give the same digest.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import LambdafitError
from contracts.stack_errors import LibrariesNotBuilt
from libraries import compile_tree
from libraries.archive import SUFFIX, Manifest, pack
from libraries.lock import LOCK, MACHINES, differing, lock_digest, pins
from libraries.sources import FileArchive, archive_key, read_manifest
from libraries.trim import NEVER_INSTALLED, trim

PYTHON = "3.13"
"""Lambda's, as template.yaml names it."""

GLIBC = "manylinux_2_34"
"""Of Amazon Linux 2023, on which Lambda's Python 3.13 runs."""

LAYER_PINS = LOCK.parents[2] / "layer" / "requirements.txt"
LONGEST_OUTPUT = 2_000
NOT_PASSED_ON = ("PYTHON", "UV_SYSTEM", "UV_COMPILE")
"""How variables begin that could lead a child astray, or contradict what uv is told here."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Built:
    """An archive that lies in a folder."""

    path: Path
    manifest: Manifest

    @property
    def key(self) -> str:
        """Where it belongs in the bucket."""
        return archive_key(self.manifest.digest)

    def pointer(self) -> dict[str, Any]:
        """What `libraries/current.json` says once it is there."""
        return {"digest": self.manifest.digest, "key": self.key, "bytes": self.manifest.archive_bytes}


def build(output: Path, architecture: str, tell: Tell = lambda line: None) -> Built:
    """Build the archive `<digest>.tar.zst` in `output`, with `<digest>.json` beside it, for people.

    Args:
        architecture: x86_64 or arm64; need not be that of this machine.
        tell: told what is going on, line by line.
    Raises:
        LibrariesNotBuilt: a program or a package is missing, or the pins contradict the layer's.
    """
    wanted = wanted_pins(LOCK.read_text(encoding="utf-8"), _layer_pins(), architecture)
    compiler = find_python()
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=".building-") as folder:
        tree = Path(folder) / "tree"
        tell(f"Installing {len(wanted)} packages for {architecture}, Python {PYTHON}")
        install(tree, LOCK.read_text(encoding="utf-8"), wanted, architecture)
        trimmed = trim(tree)
        tell(f"Left out {trimmed.files:,} files, {trimmed.bytes / 1e6:,.0f} MB with the libraries' unloaded symbols")
        compile_modules(compiler, tree)
        about = {"architecture": architecture, "python": PYTHON, "lock": lock_digest(), "packages": wanted}
        tell("Packing: some minutes of all processors")
        packed = Path(folder) / f"packed{SUFFIX}"
        manifest = pack(tree, about, packed, threads=os.cpu_count() or 1)
        target = output / f"{manifest.digest}{SUFFIX}"
        packed.replace(target)
    (output / f"{manifest.digest}.json").write_text(json.dumps(manifest.to_json(), indent=1) + "\n")
    return Built(target, manifest)


def built(output: Path, architecture: str) -> Built | None:
    """An archive in `output` from an earlier build with these very pins, for this architecture."""
    for path in sorted(output.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            manifest = read_manifest(FileArchive(path))
        except LambdafitError:
            continue
        whole = path.stat().st_size == manifest.archive_bytes and path.name == f"{manifest.digest}{SUFFIX}"
        contents = manifest.contents
        if whole and (contents.architecture, contents.python, contents.lock) == (architecture, PYTHON, lock_digest()):
            return Built(path, manifest)
    return None


def wanted_pins(lock: str, layer: Mapping[str, str], architecture: str) -> dict[str, str]:
    """Package → version of what goes into the archive.

    Raises:
        LibrariesNotBuilt: a package has another version in the layer, which comes first in a worker.
    """
    pinned = pins(lock, architecture)
    for name, versions in differing(pinned, layer).items():
        found = f"{name} is {versions[0]}, in the layer {versions[1]}"
        raise LibrariesNotBuilt(LOCK.name, found, "one version", advice="`make requirements` pins both again.")
    return {name: version for name, version in pinned.items() if name not in layer and name not in NEVER_INSTALLED}


def install(tree: Path, lock: str, wanted: Mapping[str, str], architecture: str) -> None:
    """Install these pins of a hashed requirements file, and nothing else, into a folder.

    Raises:
        LibrariesNotBuilt: uv is missing, or a package, or its hash is another.
    """
    chosen = tree.with_name("chosen.txt")
    chosen.write_text("\n".join(_blocks(lock, wanted)) + "\n", encoding="utf-8")
    platform = f"{MACHINES[architecture]}-{GLIBC}"
    command = [
        find_uv(), "pip", "install", "--quiet", "--target", str(tree), "--python", sys.executable,
        "--python-platform", platform, "--python-version", PYTHON, "--no-deps", "--require-hashes",
        "--only-binary", ":all:", "--no-compile-bytecode", "--link-mode", "copy", "--requirement", str(chosen),
    ]  # fmt: skip
    _run(command, f"packages for {architecture}")


def compile_modules(python: str, tree: Path) -> None:
    """Compile every module below a folder; see `libraries.compile_tree`.

    Raises:
        LibrariesNotBuilt: the compiler failed.
    """
    variables = {"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0"}
    _run([python, "-S", "-P", str(Path(compile_tree.__file__)), str(tree)], "compiling", variables)


def find_uv() -> str:
    """The program `uv`.

    Raises:
        LibrariesNotBuilt: there is none.
    """
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise LibrariesNotBuilt("uv", "it is neither beside this Python nor on the PATH")
    return found


def find_python() -> str:
    """The Python whose bytecode the workers run: this one, or one on the PATH.

    Raises:
        LibrariesNotBuilt: there is none.
    """
    if f"{sys.version_info.major}.{sys.version_info.minor}" == PYTHON:
        return sys.executable
    found = shutil.which(f"python{PYTHON}")
    if found is None:
        raise LibrariesNotBuilt(f"python{PYTHON}", "this Python is another, and it is not on the PATH")
    return found


def _layer_pins() -> dict[str, str]:
    try:
        return pins(LAYER_PINS.read_text(encoding="utf-8"), "x86_64")
    except OSError as error:
        advice = "The archive is built in a checkout: clone the repository."
        raise LibrariesNotBuilt(str(LAYER_PINS), str(error.strerror), "the layer's pins", advice=advice) from error


def _blocks(lock: str, wanted: Mapping[str, str]) -> list[str]:
    """The lock's entries, each with its hashes, of the packages wanted."""
    found: list[str] = []
    taking = False
    for line in lock.splitlines():
        if "==" in line and not line.startswith((" ", "#")):
            taking = line.split("==")[0].lower().replace("_", "-") in wanted
        if taking:
            found.append(line)
    return found


def _run(command: Sequence[str], what: str, variables: Mapping[str, str] | None = None) -> None:
    own = {key: value for key, value in os.environ.items() if not key.startswith(NOT_PASSED_ON)}
    done = subprocess.run(  # noqa: S603 - uv and Python, and no shell
        command, env=dict(variables) if variables is not None else own, capture_output=True, check=False
    )
    if done.returncode != 0:
        printed = done.stderr.decode(errors="replace").strip()[-LONGEST_OUTPUT:]
        raise LibrariesNotBuilt(what, f"{Path(command[0]).name} ended with exit code {done.returncode}: {printed}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command.

    Returns:
        the exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m libraries.build", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/libraries"))
    parser.add_argument("--architecture", choices=sorted(MACHINES), default="x86_64")
    parser.add_argument("--again", action="store_true", help="even if an archive of these pins is there")
    options = parser.parse_args(arguments)

    def tell(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    try:
        found = None if options.again else built(options.output, options.architecture)
        found = found or build(options.output, options.architecture, tell)
    except LambdafitError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps({"path": str(found.path), **found.pointer()}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
