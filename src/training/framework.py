"""TensorFlow and Keras, imported quietly and in two thirds of the usual time. All of `training` takes them from here.

Keras imports scikit-learn (and with it SciPy's statistics: 1 s) for wrappers that are not used here; a None in
`sys.modules` makes that one import fail, which Keras allows for. The garbage collector has nothing to find while
modules load, and need not look at them again later.
"""

from __future__ import annotations

import gc
import os
import sys


def _import_both() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    held_back = "sklearn" not in sys.modules and "keras" not in sys.modules
    collecting = gc.isenabled()
    gc.disable()
    if held_back:
        sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    finally:
        if held_back:
            del sys.modules["sklearn"]
        gc.freeze()
        if collecting:
            gc.enable()


_import_both()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

__all__ = ["keras", "tf"]
