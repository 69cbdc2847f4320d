"""What of the installed packages stays out of the archive, and why.

Everything that is not named here is kept, so that a user's own recipe finds all of Keras and TensorFlow's Python.
Nothing named here is opened by a whole training, evaluation, export and prediction of a model that uses much of
Keras (tests/unit/libraries/test_real_archive.py; `strace -f -e trace=openat` shows it).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path

from libraries.elf import cut_after_segments, is_library


@dataclass(frozen=True)
class Dropped:
    """Paths below the tree that stay out. In a pattern `*` matches across folders."""

    pattern: str
    why: str


NEVER_INSTALLED = {
    "libclang": "TensorFlow's build tools: 64 MB that nothing imports",
    "setuptools": "builds packages; nothing is built in a worker",
    "wheel": "builds packages",
    "grpcio": "of Python's debugger and profiler clients; TensorFlow has its own inside libtensorflow_cc",
    "pygments": "rich colours source code with it, which Keras prints none of",
    "markdown-it-py": "rich's Markdown",
    "mdurl": "rich's Markdown",
    "google-pasta": "TensorFlow 1 to 2 upgrade script",
}
"""Packages that others require and no worker imports, and why."""

DROPPED = (
    Dropped("bin/*", "console scripts"),
    Dropped("share/*", "manual pages"),
    Dropped("*.dist-info/RECORD", "for uninstalling"),
    Dropped("*.dist-info/INSTALLER", "for uninstalling"),
    Dropped("*.dist-info/REQUESTED", "for uninstalling"),
    Dropped("*.dist-info/direct_url.json", "for uninstalling"),
    Dropped("*.dist-info/sboms/*", "for auditing the installation, not the run"),
    Dropped("*.lock", "of the installer"),
    Dropped("*.pyi", "types for editors"),
    Dropped("*-stubs/*", "types for editors"),
    Dropped("*.h", "headers"),
    Dropped("*.hpp", "headers"),
    Dropped("*.inc", "headers"),
    Dropped("*.pxd", "Cython sources"),
    Dropped("*.pyx", "Cython sources"),
    Dropped("*.a", "static libraries"),
    Dropped("*.cmake", "build files"),
    Dropped("tensorflow/include/*", "headers: 289 MB, two thirds of all files"),
    Dropped("tensorflow/xla_aot_runtime_src/*", "sources for compiling ahead of time"),
    Dropped("tensorflow/compiler/mlir/stablehlo/stablehlo_extension.so", "reads StableHLO by hand: 26 MB, lazy"),
    Dropped("tensorflow/compiler/tf2xla/ops/_xla_ops.so", "XLA's own operations: 19 MB, loaded by no import"),
    Dropped("tensorflow/python/kernel_tests/*", "TensorFlow's tests"),
    Dropped("tensorflow/examples/*", "examples"),
    Dropped("tensorflow/lite/toco/*", "converter for TensorFlow Lite"),
    Dropped("tensorflow/python/debug/examples/*", "examples"),
    Dropped("keras/*_test.py", "Keras's tests"),
    Dropped("h5py/tests/*", "h5py's tests"),
    Dropped("ml_dtypes/tests/*", "tests"),
    Dropped("google/protobuf/internal/*_test.py", "tests"),
    Dropped("*/__pycache__/*", "compiled anew, the same way for everybody"),
)


@dataclass(frozen=True)
class Trimmed:
    """What trimming took away."""

    files: int
    bytes: int
    bytes_of_symbols: int


def reason_to_drop(path: str) -> str:
    """Why this path (with forward slashes, below the tree) stays out; empty where it is kept."""
    for dropped, matches in zip(DROPPED, _PATTERNS, strict=True):
        if matches.match(path):
            return dropped.why
    return ""


_PATTERNS = tuple(re.compile(translate(dropped.pattern)) for dropped in DROPPED)


def trim(tree: Path) -> Trimmed:
    """Remove what is not needed from an installed tree, and the symbols from its libraries."""
    files = taken = symbols = 0
    for path in sorted(tree.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        if reason_to_drop(path.relative_to(tree).as_posix()):
            files, taken = files + 1, taken + path.lstat().st_size
            path.unlink()
        elif is_library(path):
            symbols += cut_after_segments(path)
    for folder in sorted((path for path in tree.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    return Trimmed(files, taken + symbols, symbols)
