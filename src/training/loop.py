"""One worker's part of one round: steps over a shard, with pauses that leave no trace in the bits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contracts.errors import NoExamples, NotFinite
from contracts.settings import Sync
from training.compiled import CompiledRecipe, Tensors
from training.failures import recipe_code
from training.framework import tf
from training.parameters import Vector, assign_named, flatten, read

_TIMED_MS = 20.0
"""The clock is read about this often within a call."""

_LONGEST_STRIDE = 64

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ShardWork:
    """What one worker does in one round.

    Args:
        pieces: row numbers in the order of training, one array per piece of an epoch. Batches do not reach over
            the end of a piece; its last one may be smaller.
        round_index, worker_index: with `seed`, what all randomness in the round is derived from.
    """

    sync: Sync
    pieces: Sequence[Rows]
    batch_size: int
    seed: int
    round_index: int
    worker_index: int

    @property
    def total_steps(self) -> int:
        """Steps in the round."""
        return sum(math.ceil(len(piece) / self.batch_size) for piece in self.pieces)

    @property
    def examples(self) -> int:
        """Examples in the round, one seen twice counted twice."""
        return sum(len(piece) for piece in self.pieces)


@dataclass(frozen=True)
class StepResults:
    """What consecutive steps gave. `first_step` is 0-based; the lists have one entry a step.

    `accuracies` are the right shares of the steps' batches, 0 … 1; empty for regression.

    Reading the clock costs up to 0.3 ms, so steps shorter than 20 ms are timed in groups and share their mean.
    """

    first_step: int
    losses: tuple[float, ...]
    examples: tuple[int, ...]
    durations_ms: tuple[float, ...]
    accuracies: tuple[float, ...]


class ShardRun:
    """Carries out a `ShardWork`: `start` or `restore`, then `advance` until `finished`, then `update`.

    The model's variables belong to one shard run at a time: a later `start`, or an evaluation, ends this one.

    Args:
        x, y: all data that the rows index, of shape (examples, …).
    Raises:
        NoExamples: there is nothing to train on.
        RecipeFailed: the model cannot be compiled for these data.
    """

    def __init__(self, compiled: CompiledRecipe, work: ShardWork, x: Vector, y: Vector) -> None:
        if not work.examples:
            raise NoExamples(f"round {work.round_index} worker {work.worker_index}", "its shard is empty")
        if work.sync != compiled.sync:
            raise ValueError(f"the work is for sync={work.sync!r}, the recipe was compiled for {compiled.sync!r}")
        self._compiled = compiled
        self._work = work
        self._x, self._y = compiled.tensor(x), tf.convert_to_tensor(y)
        self._rows = tf.constant(np.concatenate(work.pieces).astype(np.int64))  # (examples,)
        self._starts, self._ends = _cuts(work)  # each (steps,)
        self._function = compiled.train_function(self._x, self._y)
        self._step = 0
        self._loss_sum = self._right_sum = 0.0
        self._stride = 1

    def start(self, theta: Vector, constants: Mapping[str, Vector], state: Mapping[str, Vector]) -> None:
        """Begin the round: every variable is assigned, so it does not matter what this process did before.

        Args:
            theta: the round's parameters, shape (parameters,).
            constants: the frozen layers' values, from `CompiledRecipe.initial`.
            state: the worker's own, from `initial` or the last round's `worker_state`.
        Raises:
            ShapeMismatch: one of them is not of this model.
        """
        compiled, work = self._compiled, self._work
        compiled.assign(theta, constants, seed=work.seed, round_index=work.round_index, worker_index=work.worker_index)
        assign_named(compiled.state_variables(), state, "worker state")
        for accumulator in compiled.accumulators:
            accumulator.assign(np.zeros(accumulator.shape))
        self._step, self._loss_sum, self._right_sum = 0, 0.0, 0.0
        compiled.owner = self

    def restore(self, constants: Mapping[str, Vector], checkpoint: Mapping[str, Vector]) -> int:
        """Go on where `checkpoint` was made, with the bits of a round that was never paused.

        Returns:
            the step to go on from.
        Raises:
            ShapeMismatch: the checkpoint is of another model or round.
        """
        compiled = self._compiled
        compiled.owner = None
        assign_named(compiled.variables.named(compiled.variables.constants), constants, "constants")
        tensors = dict(checkpoint)
        step, sums = tensors.pop("progress/step"), tensors.pop("progress/sums")
        assign_named(self._checkpoint_variables(), tensors, "worker checkpoint")
        self._step, (self._loss_sum, self._right_sum) = int(step), sums.tolist()
        compiled.owner = self
        return self._step

    def advance(self, steps: int) -> StepResults:
        """Do at most `steps` steps in one call. How steps are divided among calls changes no bit.

        Raises:
            NotFinite: a loss is NaN or infinite; the message names the first such step.
            RecipeFailed: the recipe's code raised.
        """
        self._check_owner()
        first, last = self._step, min(self._step + steps, self.total_steps)
        starts, ends = self._starts[first:last], self._ends[first:last]
        with recipe_code(self._compiled.file, f"{self._where()} training"):
            losses, right, stamps = self._function(
                self._x, self._y, self._rows, tf.constant(starts), tf.constant(ends), tf.constant(self._stride)
            )
        values, counts = losses.numpy(), ends - starts
        if not np.isfinite(values).all():
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            raise NotFinite(f"{self._where()} step {first + at}", f"the loss is {values[at]}", "a finite number")
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            self._loss_sum += value * count  # one by one: the sum's bits must not depend on the calls
        rights = _step_sums(right.numpy(), counts)
        for share in rights.tolist():
            self._right_sum += share
        self._step = last
        durations_ms = _durations_ms(stamps.numpy(), last - first, self._stride)
        if len(durations_ms):
            self._stride = int(np.clip(_TIMED_MS / max(durations_ms.mean(), 1e-6), 1, _LONGEST_STRIDE))
        return StepResults(
            first_step=first,
            losses=tuple(values.tolist()),
            examples=tuple(counts.tolist()),
            durations_ms=tuple(durations_ms.tolist()),
            accuracies=tuple((rights / counts[: len(rights)]).tolist()),
        )

    def checkpoint(self) -> Tensors:
        """All that `restore` needs beside the constants, by name."""
        self._check_owner()
        tensors = {name: read(variable) for name, variable in self._checkpoint_variables().items()}
        sums = np.array([self._loss_sum, self._right_sum])
        return tensors | {"progress/step": np.array(self._step), "progress/sums": sums}

    def update(self, theta: Vector) -> Vector:
        """What the worker hands in once the round is finished.

        For "local", the change of the vector since `theta`. For "gradients", the mean gradient over the shard's
        examples, and the change of the statistics behind it.

        Returns:
            shape (parameters,), of the layout's type.
        Raises:
            NotFinite: a value is NaN or infinite; the message names its tensor.
        """
        self._check_owner()
        compiled = self._compiled
        update = compiled.variables.flatten()  # (parameters,)
        update -= theta
        if self._work.sync == "gradients":
            statistics = [read(variable) for variable in compiled.variables.vector[len(compiled.accumulators) :]]
            sums = flatten([*map(read, compiled.accumulators), *statistics], compiled.layout)
            trainable = slice(0, compiled.layout.trainable_count)
            update[trainable] = sums[trainable] / self.examples
        self._check_finite(update)
        return update

    def worker_state(self) -> Tensors:
        """What this worker needs in its next round: the inner optimizer's variables, whole numbers, booleans."""
        self._check_owner()
        return {name: read(variable) for name, variable in self._compiled.state_variables().items()}

    @property
    def step(self) -> int:
        """Steps done."""
        return self._step

    @property
    def total_steps(self) -> int:
        """Steps in the whole round."""
        return len(self._starts)

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self._step >= self.total_steps

    @property
    def examples(self) -> int:
        """Examples trained on so far."""
        return int((self._ends - self._starts)[: self._step].sum())

    @property
    def mean_loss(self) -> float:
        """Mean training loss of the examples so far, penalties included."""
        return self._loss_sum / max(self.examples, 1)

    @property
    def mean_accuracy(self) -> float | None:
        """Share of right predictions among the examples so far, each as the step saw it; None for regression."""
        if self._compiled.recipe.task == "regression":
            return None
        return self._right_sum / max(self.examples, 1)

    def _checkpoint_variables(self) -> dict[str, tf.Variable]:
        compiled = self._compiled
        model = compiled.variables
        own = model.named([*model.vector, *model.seeds])
        state, sums = compiled.state_variables(), compiled.accumulator_variables()
        return {f"model/{name}": variable for name, variable in own.items()} | state | sums

    def _check_finite(self, update: Vector) -> None:
        if np.isfinite(update.sum(dtype=np.float64)):
            return
        for name, values in self._compiled.layout.split(update).items():
            if not np.isfinite(values).all():
                raise NotFinite(self._where(), f"{name!r} holds NaN or infinity", "finite values")

    def _check_owner(self) -> None:
        if self._compiled.owner is not self:
            raise RuntimeError("this shard run was not started, or another use of the model has ended it")

    def _where(self) -> str:
        return f"round {self._work.round_index} worker {self._work.worker_index}"


def _durations_ms(stamps: npt.NDArray[np.float64], steps: int, stride: int) -> npt.NDArray[np.float64]:
    """Milliseconds of each step, shape (steps,), from readings before every `stride`-th and at the end."""
    read_at = np.append(np.arange(0, steps, stride), steps)  # (groups + 1,)
    lengths = np.diff(read_at)
    return np.repeat(np.diff(stamps) * 1e3 / lengths, lengths)


def _step_sums(shares: npt.NDArray[np.float64], counts: Rows) -> npt.NDArray[np.float64]:
    """Sums over each step's examples, shape (steps,); none where there are no shares.

    Args:
        shares: of all steps' examples in their order.
        counts: examples of each step, none of them 0.
    """
    if not len(shares):
        return shares
    return np.add.reduceat(shares, np.cumsum(counts) - counts)


def _cuts(work: ShardWork) -> tuple[Rows, Rows]:
    """Where each step's batch begins and ends in the concatenated pieces: two arrays of shape (steps,)."""
    starts: list[Rows] = []
    ends: list[Rows] = []
    offset = 0
    for piece in work.pieces:
        begin = np.arange(0, len(piece), work.batch_size, dtype=np.int64)  # (steps of the piece,)
        starts.append(offset + begin)
        ends.append(offset + np.minimum(begin + work.batch_size, len(piece)))
        offset += len(piece)
    return np.concatenate(starts), np.concatenate(ends)
