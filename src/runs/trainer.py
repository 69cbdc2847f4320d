"""What the use cases need of a machine-learning framework. TensorFlow implements it; the simulator has its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from contracts.records import Run
from training.samples import Looks
from training.shards import Rows
from training.vector_files import Vector

Tensors = Mapping[str, npt.NDArray[Any]]


class Initial(NamedTuple):
    """A model before its first round."""

    parameters: Vector  # (parameters,)
    trainable_count: int
    constants: Tensors
    state: Tensors


class Validation(NamedTuple):
    """A part of the validation split: `sums` are `examples`, `loss_sum` and perhaps `correct`.

    `looks` is None where there is no class to be shown for each example.
    """

    sums: dict[str, float]
    looks: Looks | None = None


class StepResults(Protocol):
    """Consecutive steps just done; parallel sequences, one entry a step."""

    @property
    def first_step(self) -> int:
        """0-based."""

    @property
    def losses(self) -> Sequence[float]:
        """Mean over the step's examples."""

    @property
    def examples(self) -> Sequence[int]:
        """How many."""

    @property
    def durations_ms(self) -> Sequence[float]:
        """Milliseconds."""

    @property
    def accuracies(self) -> Sequence[float]:
        """Right shares of the steps' batches, 0 … 1; empty for regression."""


class ShardInProgress(Protocol):
    """One worker's round, somewhere between its first and last step."""

    @property
    def step(self) -> int:
        """Steps done."""

    @property
    def total_steps(self) -> int:
        """Steps in the whole round."""

    def start(self, parameters: Vector, constants: Tensors, state: Tensors) -> None:
        """Assign every variable: parameters of shape (parameters,), seeds derived, accumulators zero."""

    def restore(self, constants: Tensors, checkpoint: Tensors) -> object:
        """Go on where a checkpoint was taken, to the bit."""

    def advance(self, steps: int) -> StepResults:
        """Do at most that many more steps.

        Raises:
            NotFinite: a loss is not.
        """

    def checkpoint(self) -> Tensors:
        """All that `restore` needs."""

    def update(self, parameters: Vector) -> Vector:
        """What to hand in: change or mean gradient, shape (parameters,)."""

    def worker_state(self) -> Tensors:
        """The worker's own state, for its next round."""

    @property
    def examples(self) -> int:
        """Examples seen in this round, before a pause included."""

    @property
    def mean_loss(self) -> float:
        """Weighted by examples, before a pause included."""

    @property
    def mean_accuracy(self) -> float | None:
        """Of this round's examples, before a pause included; None for regression."""


class Trainer(Protocol):
    """A recipe, built and compiled once per execution environment.

    `fingerprint` names all that decides the bits of its arithmetic.
    """

    fingerprint: str

    def peak_memory_bytes(self) -> int:
        """The most memory that this process has held so far."""

    def initial(self, run: Run) -> Initial:
        """The model as its seed alone gives it."""

    def features(self, run: Run, split: str, low: int, high: int) -> Vector:
        """The frozen backbone's outputs for rows low … high-1 of a split: shape (rows, width), float16.

        Raises:
            NotFinite: one is not, as float16.
        """

    def shard(self, run: Run, round_index: int, worker_index: int, pieces: Sequence[Rows]) -> ShardInProgress:
        """Prepare one worker's round; nothing is assigned before `start` or `restore`."""

    def validate(self, run: Run, parameters: Vector, constants: Tensors, low: int, high: int) -> Validation:
        """How good the parameters are on rows low … high-1 of the validation split, and what they see there."""

    def pictures(self, run: Run, rows: Sequence[int]) -> tuple[bytes, ...]:
        """Thumbnails of some rows of the validation split, one each; none where the data are no pictures."""

    def test(self, run: Run, parameters: Vector, constants: Tensors) -> dict[str, float]:
        """`val_loss`, `test_loss` and, for classes, `val_accuracy` and `test_accuracy` of the whole splits."""

    def export(self, run: Run, parameters: Vector, constants: Tensors) -> dict[str, bytes]:
        """The model as files: suffix (`keras`, `safetensors`) → content."""


NO_TENSORS: Tensors = {}


def parameters_digest(parameters: npt.NDArray[np.floating[Any]]) -> str:
    """sha256 of the parameters' bytes: the same figure wherever it is computed."""
    return hashlib.sha256(np.ascontiguousarray(parameters).tobytes()).hexdigest()
