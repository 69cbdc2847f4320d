"""What an estimate starts from: the size of the model and the data, a step's time, and how fast a place is."""

from __future__ import annotations

from typing import NamedTuple


class Sizes(NamedTuple):
    """What is known of the model and the data.

    Args:
        parameters: values of the flat vector.
        state_bytes: of each worker's own state.
        data_bytes: train and validation split on the shared files; `test_bytes` the test split.
        source: where this is from, for people.
        backbone_s: of one core, for one example's pass through a frozen backbone.
        feature_bytes: of its outputs for one example, where these are computed once; 0: they are computed in each step.
        weights_bytes: of the backbone.
    """

    parameters: int
    state_bytes: int
    constants_bytes: int
    examples: int
    val_examples: int
    test_examples: int
    data_bytes: int
    test_bytes: int
    source: str
    backbone_s: float = 0.0
    feature_bytes: int = 0
    weights_bytes: int = 0

    @property
    def all_examples(self) -> int:
        """Of all splits."""
        return self.examples + self.val_examples + self.test_examples


class StepTime(NamedTuple):
    """How long one worker's step takes.

    Args:
        seconds: of one step with the run's batch.
        threads: that it was measured with.
        source: where this is from, for people.
    """

    seconds: float
    threads: int
    source: str


class Speeds(NamedTuple):
    """How fast a place is, beside computing.

    Args:
        cold_s: of a new environment of Train until its first task; Lambda bills it.
        task_s: of each task beside its work: claims, reports, assigning variables.
        build_s: of initialise beside its writing, and of evaluate beside the examples: building the model.
        read_bytes_per_s, write_bytes_per_s: of one function on the shared files.
    """

    cold_s: float
    task_s: float
    build_s: float
    read_bytes_per_s: float
    write_bytes_per_s: float


AWS = Speeds(cold_s=30.0, task_s=0.15, build_s=1.0, read_bytes_per_s=300e6, write_bytes_per_s=100e6)
"""Assumed from reports: nobody has measured it."""
