"""Seeds of a model's random number generators, derived so that no two workers, rounds or generators share one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_STATE_BITS = 30
"""TensorFlow's stateless kernels take 31 bits; one more is left for the counter that Keras adds each step."""


def generator_state(seed: int, round_index: int, worker_index: int, variable_index: int) -> npt.NDArray[np.int64]:
    """The state at the start of a round: a pure function of its arguments (NumPy's SeedSequence).

    Returns:
        int64 of shape (2,): the generator's key and its counter.
    """
    sequence = np.random.SeedSequence([seed, round_index, worker_index, variable_index])
    words = sequence.generate_state(2, dtype=np.uint32)  # (2,)
    return (words >> (32 - _STATE_BITS)).astype(np.int64)
