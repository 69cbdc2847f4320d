"""Compiles every module below a folder, the same bytes every time: `python3.13 compile_tree.py FOLDER`.

A program of its own, run by the Python that the archive is for, alone and in one process: what a .pyc holds depends
a little on the interpreter's state (marshal marks what is referred to more than once) and on the order of hashes.
The .pyc are of the unchecked kind: Python takes them without looking at the source's time or bytes.
"""

from __future__ import annotations

import gc
import py_compile
import sys
from pathlib import Path


def compile_tree(tree: Path) -> int:
    """Write a .pyc beside each module that compiles.

    Returns:
        how many were written.
    """
    written = 0
    for path in sorted(tree.rglob("*.py")):
        try:
            py_compile.compile(
                str(path),
                dfile=path.relative_to(tree).as_posix(),
                doraise=True,
                quiet=1,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        except py_compile.PyCompileError:  # a template, or code for another Python: as in any installation
            continue
        written += 1
    return written


if __name__ == "__main__":
    gc.disable()
    sys.stdout.write(f"{compile_tree(Path(sys.argv[1]))}\n")
