"""The archive as `lambdafit deploy` builds it: a whole run with nothing but it, the layer's packages and the source.

Built once into build/libraries, which takes a minute or two and the network (or uv's cache); kept for the next time.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contracts.stack_errors import LibrariesNotBuilt
from libraries.build import PYTHON, Built, build, built, find_uv
from libraries.lock import LOCK, this_architecture, this_python
from libraries.trim import reason_to_drop

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
OPTIONS = ("workers=2", "rounds=1", "steps_per_round=2", "seed=3")
UNREACHABLE = ("Failed to fetch", "dns error", "Network is unreachable", "error sending request")

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or this_python() != PYTHON, reason="the archive is for Linux and Python 3.13"
)


@pytest.fixture(scope="module")
def archive() -> Built:
    folder = ROOT / "build" / "libraries"
    try:
        return built(folder, this_architecture()) or build(folder, this_architecture())
    except LibrariesNotBuilt as error:
        if any(text in str(error) for text in UNREACHABLE):
            pytest.skip(f"the packages cannot be fetched here: {error}")
        raise


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Lambda layer holds, installed by itself."""
    folder = tmp_path_factory.mktemp("layer")
    command = [find_uv(), "pip", "install", "--quiet", "--target", folder, "--python", sys.executable, "--no-deps"]
    subprocess.run([*command, "--require-hashes", "--requirement", ROOT / "layer/requirements.txt"], check=True)
    return folder


def whole_run(path: list[Path], home: Path, trace: Path | None = None, **variables: str) -> dict[str, Any]:
    """A run in a Python that sees these folders only: not the packages of this environment."""
    home.mkdir()
    interpreter = Path(sys.base_prefix) / "bin" / f"python{PYTHON}"
    command = [str(interpreter), "-s", str(HERE / "whole_run.py"), str(HERE / "wide_recipe.py"), *OPTIONS]
    if trace is not None:
        command = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=openat", "-o", str(trace), *command]
    known = {"PATH": os.environ["PATH"], "HOME": str(home), "LAMBDAFIT_HOME": str(home), "LAMBDAFIT_THREADS": "1"}
    environment = known | {"PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"} | variables
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-3_000:]
    assert "AutoGraph is not available" not in done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


PACKAGES = Path(sys.prefix) / "lib" / f"python{PYTHON}" / "site-packages"
"""What is installed here: everything, neither trimmed nor cut, and from the same pins."""


@dataclass(frozen=True)
class PlainRun:
    """A whole run without an archive, and what `strace` saw of it where there is one."""

    answer: dict[str, Any]
    trace: Path | None


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> PlainRun:
    folder = tmp_path_factory.mktemp("plain")
    trace = folder / "trace" if shutil.which("strace") is not None else None
    return PlainRun(whole_run([ROOT / "src", PACKAGES], folder / "home", trace), trace)


def test_a_whole_run_needs_no_more_than_the_archive_and_computes_the_same_bits(
    archive: Built, layer: Path, plain: PlainRun, tmp_path: Path
) -> None:
    source = ROOT / "src"
    answer = whole_run([source, layer], tmp_path / "archive", LAMBDAFIT_LIBRARIES=str(archive.path))
    assert archive.manifest.digest in answer["tensorflow_at"]
    assert sum(answer["outputs_of_loaded"][0]) == pytest.approx(1)
    installed = Path(json.__file__).parents[1] / "site-packages"  # pip only
    assert not (installed / "tensorflow").exists()
    assert archive.manifest.digest not in plain.answer["tensorflow_at"]
    assert answer["results"]["parameters_sha256"] == plain.answer["results"]["parameters_sha256"]
    assert answer["fingerprint"] == plain.answer["fingerprint"]


def test_nothing_that_a_whole_run_opens_was_left_out(plain: PlainRun) -> None:
    """Of the plain installation in this environment, which has everything."""
    if plain.trace is None:
        pytest.skip("there is no strace here")
    opened, packages = set(), PACKAGES
    for line in plain.trace.read_text(errors="replace").splitlines():
        if f'"{packages}/' in line and "= -1" not in line:
            path = os.path.normpath(line.split('"')[1])  # the loader writes tensorflow/python/../libtensorflow_cc.so.2
            opened.add(Path(path).relative_to(packages).as_posix())
    modules = {name for name in opened if "__pycache__" not in name and not (packages / name).is_dir()}
    assert {"tensorflow/libtensorflow_cc.so.2", "certifi/cacert.pem"} <= modules
    # A .pyc stands for its module.
    modules |= {name.replace("__pycache__/", "").partition(".cpython")[0] + ".py" for name in opened - modules}
    dropped = {name: reason_to_drop(name) for name in modules if reason_to_drop(name)}
    assert dropped == {}


def test_it_keeps_the_sizes_that_were_promised(archive: Built) -> None:
    """A plain installation of the same pins takes 1.5 GB in 16,500 files."""
    contents = archive.manifest.contents
    assert archive.manifest.archive_bytes < 200e6
    assert contents.bytes < 850e6 and contents.files < 7_000
    assert archive.path.stat().st_size == archive.manifest.archive_bytes
    assert json.loads(archive.path.with_name(f"{archive.manifest.digest}.json").read_text())["files"] == contents.files
    assert contents.packages["keras"] in LOCK.read_text()
