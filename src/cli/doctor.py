"""`doctor`: what could keep a run from working on this machine, each with what to do about it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cli.checks import Check, guarded, show_checks
from cli.home_access import check_writable, current_home, existing_parent
from engines.home import Home, HomeLock
from engines.local import LocalSettings
from runs.describe_recipe import missing_bytes
from training.datasets.fetch import check_source
from training.datasets.source import DataSource, source_named
from training.recipe import builtin_names, load_recipe

SUPPORTED = ((3, 12), (3, 13))
NAME_WIDTH = max(len(name) for name in (*builtin_names(), "TensorFlow"))
ENOUGH_DISK_BYTES = 2 * 10**9
TENSORFLOW_LIMIT_S = 120.0
IMPORT_TENSORFLOW = (
    "from training.numerics import pin_threads; pin_threads(1); import tensorflow, keras;"
    " print(tensorflow.__version__, keras.__version__)"
)


def examine(*, as_json: bool) -> int:
    """Look at everything on this machine and print it, one line each as it is known.

    Returns:
        0, or 3 where something has to be mended.
    """
    return show_checks(checks(current_home()), NAME_WIDTH, as_json=as_json)


def checks(home: Home) -> Iterator[Check]:
    """All checks, in the order in which their answers matter."""
    yield check_python(sys.version_info[:2], platform.python_version())
    yield check_disk(home.folder)
    yield from guarded("home", partial(check_home, home))
    yield check_lock(home)
    yield from guarded("machine", check_machine)
    yield check_tensorflow()
    yield check_runtime_client()
    yield from check_data(home, os.environ.get("LAMBDAFIT_DATA", ""))


def check_python(version: tuple[int, int], text: str) -> Check:
    """Whether TensorFlow has packages for this Python."""
    if version in SUPPORTED:
        return Check("Python", "ok", text)
    return Check("Python", "bad", text, "lambdafit runs on Python 3.12 and 3.13: `make setup` finds or fetches one.")


def check_disk(folder: Path) -> Check:
    """Whether runs have room."""
    try:
        free = shutil.disk_usage(existing_parent(folder)).free
    except OSError as error:
        return Check("disk", "bad", f"{folder}: {error.strerror}", "Name another folder in LAMBDAFIT_HOME.")
    found = f"{free / 1e9:,.1f} GB free for {folder}"
    if free >= ENOUGH_DISK_BYTES:
        return Check("disk", "ok", found)
    return Check("disk", "note", found, "Free some space: `lambdafit runs rm` removes old runs.")


def check_home(home: Home) -> Check:
    """Whether runs can be written. Nothing is left behind, and no home is made."""
    check_writable(home)
    made = "" if home.folder.is_dir() else " (not made yet)"
    return Check("home", "ok", f"{home.folder} is writable{made}")


def check_lock(home: Home) -> Check:
    """Whether another engine works in this home."""
    holder = HomeLock(home).held_by_other()
    if not holder:
        return Check("lock", "ok", "no engine at work")
    return Check(
        "lock", "note", f"in use by {holder}", "One run at a time in a home: wait, stop it, or set LAMBDAFIT_HOME."
    )


def check_machine() -> Check:
    """How many functions run side by side."""
    local = LocalSettings.from_environment(os.environ)
    limits = local.limits()
    return Check(
        "machine",
        "ok",
        f"{local.cores} cores: {limits.concurrency} functions side by side, "
        f"{max(1, local.cores // limits.concurrency)} thread each, {limits.memory_mb} MB, {limits.time_limit_s:g} s",
    )


def check_tensorflow() -> Check:
    """Whether TensorFlow loads, in a process of its own, and how long that takes."""
    fix = "`make setup` installs it; LAMBDAFIT needs AVX on x86_64."
    began = time.monotonic()
    try:
        done = subprocess.run(  # noqa: S603 - this very Python, and no shell
            [sys.executable, "-P", "-c", IMPORT_TENSORFLOW],
            capture_output=True,
            text=True,
            timeout=TENSORFLOW_LIMIT_S,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check("TensorFlow", "bad", f"not loaded after {TENSORFLOW_LIMIT_S:g} s", fix)
    took_s = time.monotonic() - began
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return Check("TensorFlow", "bad", last, fix)
    tensorflow, keras = done.stdout.split()[-2:]
    return Check("TensorFlow", "ok", f"{tensorflow}, Keras {keras}, loaded in {took_s:.1f} s")


def check_runtime_client() -> Check:
    """Which client the functions speak to the engine with."""
    if sys.platform != "linux":
        return Check("runtime", "ok", "lambdafit's own client (awslambdaric is for Linux)")
    if importlib.util.find_spec("awslambdaric") and importlib.util.find_spec("runtime_client"):
        return Check("runtime", "ok", "awslambdaric, as on AWS")
    return Check(
        "runtime", "note", "lambdafit's own client", "`make setup` installs awslambdaric, which AWS itself runs."
    )


def check_data(home: Home, data_folder: str) -> Iterator[Check]:
    """Whether each built-in recipe finds its data, and whole. Nothing is downloaded."""
    downloads = home.environment().download_folder
    folder = Path(data_folder) if data_folder else None
    for name in builtin_names():
        source = source_named(load_recipe(name).dataset)
        missing = missing_bytes(source, folder, downloads)
        if not source.files:
            yield Check(name, "ok", f"{source.name}: comes with scikit-learn")
        elif missing:
            where = folder / source.name if folder else "LAMBDAFIT_DATA, which is not set"
            fix = f"The first run downloads it, or put its files into {where}."
            yield Check(name, "note", f"{source.name}: {missing / 1e6:.1f} MB are missing", fix)
        else:
            yield from guarded(name, partial(_check_files, name, source, folder, downloads))


def _check_files(name: str, source: DataSource, folder: Path | None, downloads: Path) -> Check:
    return Check(name, "ok", f"{source.name}: {check_source(source, folder, downloads)}")
