"""Updates of half the bytes: rounded to bfloat16, and what rounding takes kept for the worker's next one.

What was taken lies beside the worker's own state, in the same file: it belongs to just the execution whose update was
combined, is cleared with it, and is the same wherever the next round or a resumed one runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.settings import RunSettings
from runs.trainer import NO_TENSORS, Tensors
from training.bfloat16 import BFLOAT16, Halves, round_with_feedback
from training.vector_files import Vector

_ERROR = "lambdafit/update_error"
"""Among a worker's tensors: bfloat16 as uint16, shape (parameters,). No trainer uses such a name."""

HALF_BYTES = 2
FULL_BYTES = 4


def is_halved(settings: RunSettings) -> bool:
    """Whether updates are handed in as bfloat16."""
    return settings.update_dtype == BFLOAT16


def update_bytes(settings: RunSettings, parameters: int, value_bytes: int = FULL_BYTES) -> int:
    """Of one worker's update.

    Args:
        value_bytes: of one parameter.
    """
    return parameters * (HALF_BYTES if is_halved(settings) else value_bytes)


def error_bytes(settings: RunSettings, parameters: int) -> int:
    """What a worker's state holds beside the trainer's own."""
    return parameters * HALF_BYTES if is_halved(settings) else 0


def parted(tensors: Tensors) -> tuple[Tensors, Tensors]:
    """A worker's state or checkpoint as the trainer's own tensors, and what was taken from its last update."""
    error = {name: value for name, value in tensors.items() if name == _ERROR}
    return {name: value for name, value in tensors.items() if name != _ERROR}, error


def handed_in(settings: RunSettings, update: Vector, error: Tensors) -> tuple[Vector | Halves, Tensors]:
    """What goes to the combine, and what to keep beside the worker's state.

    Args:
        update: shape (parameters,).
        error: what was taken from the update before, by `parted`.
    """
    if not is_halved(settings):
        return update, NO_TENSORS
    halves, left = round_with_feedback(update, _halves(error.get(_ERROR)))
    return halves, {_ERROR: left}


def _halves(error: npt.NDArray[Any] | None) -> Halves | None:
    return None if error is None else error.astype(np.uint16, copy=False)
