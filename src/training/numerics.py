"""All that decides TensorFlow's bits and is set once a process: threads, determinism, and their fingerprint."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

from contracts.errors import EnvironmentFailed

_INSTRUCTION_SETS = ("amx_tile", "avx512_bf16", "avx512f", "avx2", "avx", "sve", "asimd")
"""Widest first. The kernels choose among them at run time, and the choice changes the order of sums."""


_pinned = False


def pin_threads(threads: int) -> None:
    """Import TensorFlow quietly, with `threads` threads and deterministic kernels.

    Call it before anything else that touches TensorFlow; calling it again with the same number does nothing.

    Raises:
        EnvironmentFailed: TensorFlow already runs with another number of threads.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)  # oneDNN's own pool, where it was built with OpenMP
    from training.framework import tf

    config = tf.config.threading
    now = (config.get_intra_op_parallelism_threads(), config.get_inter_op_parallelism_threads())
    if now != (threads, threads):
        try:
            config.set_intra_op_parallelism_threads(threads)
            config.set_inter_op_parallelism_threads(threads)
        except RuntimeError:
            raise EnvironmentFailed("TensorFlow", f"it runs with {now[0]} threads", f"{threads}") from None
    tf.config.experimental.enable_op_determinism()
    global _pinned
    _pinned = True


def fingerprint() -> str:
    """What two machines must have in common to compute the same bits, for people to read.

    The caches' sizes are part of it: Eigen and oneDNN cut matrices by them, which orders the sums.
    """
    from training.framework import keras, tf

    threads = tf.config.threading.get_intra_op_parallelism_threads()
    pinned = f"{threads} thread{'s' * (threads != 1)}, deterministic" if _pinned else "threads not pinned"
    onednn = "off" if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0" else "on"
    return (
        f"tensorflow {tf.__version__}, keras {keras.__version__}, {platform.machine()} {_instruction_set()}, "
        f"caches {_caches()}, oneDNN {onednn}, {pinned}"
    )


@cache
def _instruction_set() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or "unknown"
    flags = next((set(line.split(":")[1].split()) for line in lines if line.startswith(("flags", "Features"))), set())
    return next((name for name in _INSTRUCTION_SETS if name in flags), "baseline") + ("+fma" if "fma" in flags else "")


@cache
def _caches() -> str:
    folder = Path("/sys/devices/system/cpu/cpu0/cache")
    sizes = [
        (index / "size").read_text(encoding="utf-8").strip()
        for index in sorted(folder.glob("index*"))
        if (index / "size").exists() and (index / "type").read_text(encoding="utf-8").strip() != "Instruction"
    ]
    return "/".join(sizes) or "unknown"
