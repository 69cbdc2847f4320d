"""TensorFlow and Keras, imported quietly and in two thirds of the usual time. All of `training` takes them from here.

Keras imports scikit-learn (and with it SciPy's statistics: 1 s) for wrappers, and pandas (0.3 s) for `fit` with its
tables: neither is used here, nor installed in a function. A None in `sys.modules` makes those two imports fail, which
Keras allows for; whoever imports them later gets them. The garbage collector has nothing to find while modules load,
and need not look at them again later.
"""

from __future__ import annotations

import gc
import os
import sys

_NOT_FOR_KERAS = ("sklearn", "pandas")


def _import_both() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    held_back = [name for name in _NOT_FOR_KERAS if name not in sys.modules and "keras" not in sys.modules]
    collecting = gc.isenabled()
    gc.disable()
    for name in held_back:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    finally:
        for name in held_back:
            del sys.modules[name]
        gc.freeze()
        if collecting:
            gc.enable()


_import_both()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

__all__ = ["keras", "tf"]
