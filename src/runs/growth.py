"""How a run's time on this machine grows: a few straight lines, whose coefficients a benchmark measured and fitted.

`make bench-growth` measures runs of many sizes, fits each line and writes `growth_measured.py`; the error that it saw
on runs which the fit had not seen stands beside the coefficients. A line's fields are its coefficients: none is
negative.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from runs.sizes import Speeds

MEGABYTE = 1e6
VALUE_BYTES = 4
CACHED_PARAMETERS = 1_500_000
"""About what a processor's caches hold, with the gradient."""

Quantity = Literal["time", "bytes", "requests", "dollars"]


class StartLine(NamedTuple):
    """Seconds from the command until the first round is dispatched: processes, imports, the data, the model."""

    base_s: float
    s_per_data_mb: float
    s_per_parameter_mb: float

    def at(self, data_mb: float, parameter_mb: float) -> float:
        """Of a run."""
        return self.base_s + self.s_per_data_mb * data_mb + self.s_per_parameter_mb * parameter_mb


class RoundLine(NamedTuple):
    """Seconds of a round beside its steps, with as many workers at once as there are cores.

    `s_per_mb` counts what all tasks of the round move through the shared files.
    """

    base_s: float
    s_per_worker: float
    s_per_mb: float

    def at(self, workers: float, moved_mb: float) -> float:
        """Of one round."""
        return self.base_s + self.s_per_worker * workers + self.s_per_mb * moved_mb


class StepLine(NamedTuple):
    """Seconds of a worker's step on one core, for dense layers.

    The optimizer goes over all parameters and its own state once a step: those are `values`. Parameters beyond
    `CACHED_PARAMETERS` come from memory, and take longer.
    """

    base_s: float
    s_per_value: float
    s_per_parameter_beyond: float
    s_per_parameter_example: float

    def at(self, parameters: float, state_bytes: float, batch_size: float) -> float:
        """Of one step."""
        return self.fixed_s(parameters, state_bytes) + self.s_per_parameter_example * parameters * batch_size

    def fixed_s(self, parameters: float, state_bytes: float) -> float:
        """The part that does not grow with the batch."""
        values = parameters + state_bytes / VALUE_BYTES
        beyond = max(0.0, parameters - CACHED_PARAMETERS)
        return self.base_s + self.s_per_value * values + self.s_per_parameter_beyond * beyond


class SizeLine(NamedTuple):
    """Seconds that happen once in a run, by the size of the model."""

    base_s: float
    s_per_parameter_mb: float

    def at(self, parameter_mb: float) -> float:
        """Of a run."""
        return self.base_s + self.s_per_parameter_mb * parameter_mb


class ValidationLine(NamedTuple):
    """Seconds of a validation beside its examples. The first evaluation, of whatever, compiles."""

    first_s: float
    s_per_worker: float

    def at(self, validations: float, workers: float) -> float:
        """Of a run."""
        return self.first_s + self.s_per_worker * validations * workers


class TaskLine(NamedTuple):
    """Seconds of a task beside its computing."""

    base_s: float
    s_per_mb: float


class Seen(NamedTuple):
    """The relative error of the estimate on runs that the fit had not seen."""

    median: float
    worst: float


class Growth(NamedTuple):
    """All lines, and where they are from.

    Args:
        date: of the measurement.
        machine: for people.
        points, held_back: how many sizes were fitted, and how many others were then estimated.
        first_round: that the first round takes longer: the step is compiled, memory is taken.
        finish: from the last round's commit until the command is done: test, model's files, clearing up.
        cold_s: INIT of a new environment of Train.
        build_s: of building the model in a task.
        errors: by what was estimated.
    """

    date: str
    machine: str
    points: int
    held_back: int
    start: StartLine
    first_round: SizeLine
    round: RoundLine
    step: StepLine
    validation: ValidationLine
    finish: SizeLine
    task: TaskLine
    cold_s: float
    build_s: float
    errors: dict[Quantity, Seen]

    def speeds(self) -> Speeds:
        """Of this machine, for the sums that stand for AWS otherwise."""
        per_s = 1 / max(self.task.s_per_mb / MEGABYTE, 1e-12)
        return Speeds(self.cold_s, self.task.base_s, self.build_s, per_s, per_s)
