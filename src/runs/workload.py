"""The work of a planned run: every function's seconds, every file's bytes, from sizes and a step's time. Pure."""

from __future__ import annotations

import math
from typing import get_args

from contracts.records import RoundPlan, Run, TaskKind, Transfer
from contracts.settings import RunSettings
from runs.bill import POLLS_PER_S, cold_start_gets, function_use, light_functions
from runs.growth import MEGABYTE, Growth
from runs.growth_measured import MEASURED
from runs.half_updates import update_bytes
from runs.planned_files import PlannedFiles
from runs.planned_records import PlannedRecords
from runs.price_list import BYTES_PER_GB
from runs.sizes import AWS, Sizes, Speeds, StepTime
from runs.slices import slice_count
from runs.table_units import TableUnits
from runs.transfer import total
from runs.usage import MONTH_S, RANGE_BYTES, Usage
from training.shards import is_validation_round

COLD_LIGHT_S = 2.0
HOPS_S = 1.0
"""A round waits for two hops through the table's stream."""

INVOKES_PER_S = 128.0
VCPU_MB = 1_769
EVALUATED_SHARE = 1 / 3
"""Of what an example takes in a training step, when it is evaluated: there is no way back."""

LEAST_EXAMPLES_SHARE = 0.1
"""Of a step's time at least: the examples, where the rest is that of going over the parameters."""

KINDS: tuple[TaskKind, ...] = get_args(TaskKind)
MOST_VALIDATIONS_COUNTED = 100_000


class Workload:
    """The sums behind an estimate: every function's seconds and bytes, kind by kind.

    Args:
        speeds: of the place whose functions' seconds and dollars are counted.
        growth: of this machine.
    """

    def __init__(
        self,
        settings: RunSettings,
        sizes: Sizes,
        step: StepTime,
        plan: RoundPlan,
        speeds: Speeds = AWS,
        growth: Growth = MEASURED,
    ) -> None:
        self._settings, self._sizes, self._step = settings, sizes, step
        self._speeds, self._growth = speeds, growth
        self.slices = slice_count(settings, update_bytes(settings, sizes.parameters))
        if plan.rounds_per_epoch > 1:
            epochs = plan.total_rounds / plan.rounds_per_epoch
        else:
            epochs = min(plan.total_rounds * plan.epochs_per_round, settings.epochs or math.inf)
        self.steps = math.ceil(epochs * plan.examples / (settings.workers * settings.batch_size))
        self.rounds = plan.total_rounds
        last = min(self.rounds, MOST_VALIDATIONS_COUNTED)
        self.validations = sum(is_validation_round(plan, settings, index) for index in range(1, last + 1))
        self._slowdown = max(1.0, step.threads / (settings.memory_mb / VCPU_MB))
        self.files = PlannedFiles(settings, sizes, self.slices, self.rounds, self.validations)
        self._records = PlannedRecords(self.files, plan, self.steps, step.seconds * self._slowdown)

    def usage(self) -> Usage:
        """Of all functions, files and requests."""
        settings = self._settings
        seconds = self._seconds()
        uses = [function_use(settings, kind, seconds[kind], self._count(kind)) for kind in KINDS if self._count(kind)]
        cold_s = self._speeds.cold_s * self.files.environments
        cold = function_use(settings, "train", cold_s, 0)._replace(name="Train: cold starts", in_budget=False)
        units = self.table_units()
        duration_s = self.duration_s()
        tasks = sum(self._count(kind) for kind in KINDS)
        light = light_functions(settings.workers, self.rounds, tasks, units, duration_s)
        data = self._sizes.data_bytes + self._sizes.test_bytes + self._sizes.all_examples * self._sizes.feature_bytes
        return Usage(
            functions=[*(use._replace(estimated=True) for use in [*uses, cold]), *light],
            transfer=total([self.files.of(kind) for kind in KINDS]),
            recorded=False,
            stored_gb_months=(data + 3 * self._round_bytes()) / BYTES_PER_GB * duration_s / MONTH_S,
            table_writes=units.writes,
            table_reads=units.reads,
            table_bytes=units.stored_bytes,
            stream_reads=math.ceil(duration_s * POLLS_PER_S),
            s3_gets=cold_start_gets(self.files.environments) + math.ceil(data / RANGE_BYTES),
        )

    def table_units(self) -> TableUnits:
        """What the run's records take of the table."""
        return self._records.units()

    def duration_s(self) -> float:
        """On AWS, from start to end: every round waits for its slowest step."""
        invoking_s: float = self._settings.workers / INVOKES_PER_S
        waves = math.ceil(self._settings.workers / self._settings.concurrency)
        seconds = self._seconds()
        per_round = {kind: seconds[kind] / self._count(kind) for kind in ("train", "combine")}
        a_round = waves * per_round["train"] + per_round["combine"] + HOPS_S + invoking_s
        others = sum(seconds[kind] for kind in ("prepare", "initialise", "evaluate", "clear"))
        others += seconds["extract"] / max(1, min(self._settings.workers, self._settings.concurrency))
        return self._speeds.cold_s + COLD_LIGHT_S + self.rounds * a_round + others + 4 * HOPS_S

    def laptop_s(self, cores: int) -> float:
        """On this machine, from the command to its end."""
        sizes, growth, parameter_mb = self._sizes, self._growth, self.files.vector_bytes / MEGABYTE
        moved = total([self.files.of("train"), self.files.of("combine")])
        moved_mb = (moved.read_bytes + moved.written_bytes) / self.rounds / MEGABYTE
        start_s = growth.start.at((sizes.data_bytes + sizes.test_bytes) / MEGABYTE, parameter_mb)
        rounds_s = self.rounds * growth.round.at(self._settings.workers, moved_mb)
        busy_s = self.core_s() / (self._step.threads * side_by_side(self._settings.workers, cores, self._step.threads))
        rounds_s += growth.validation.at(self.validations, self._settings.workers)
        return start_s + growth.first_round.at(parameter_mb) + busy_s + rounds_s + growth.finish.at(parameter_mb)

    def core_s(self) -> float:
        """Of a backbone's outputs, training, validation and test, on one core."""
        examples = self.validations * self._sizes.val_examples + self._sizes.val_examples + self._sizes.test_examples
        worked_s = self.steps * self._settings.workers * self._step.seconds + examples * self._evaluated_example_s
        return worked_s * self._step.threads + self._extraction_core_s

    def run(self) -> Run:
        """The run as it will stand at its end, for the sums that go by a run."""
        return self._records.run()

    @property
    def _evaluated_example_s(self) -> float:
        """Of one example, forwards: a share of that part of a step which grows with its batch."""
        step_s = self._step.seconds
        fixed_s = self._growth.step.fixed_s(self._sizes.parameters, self._sizes.state_bytes)
        return EVALUATED_SHARE * max(step_s - fixed_s, LEAST_EXAMPLES_SHARE * step_s) / self._settings.batch_size

    def _seconds(self) -> dict[TaskKind, float]:
        """Of each kind of task, all attempts together."""
        settings, sizes = self._settings, self._sizes
        evaluated_s = self._evaluated_example_s * self._slowdown
        train_s = self.steps * settings.workers * self._step.seconds * self._slowdown
        worked: dict[TaskKind, float] = {
            "prepare": 0.0,
            "extract": self._extraction_core_s / (settings.memory_mb / VCPU_MB),
            "initialise": self._speeds.build_s,
            "train": train_s + self.validations * sizes.val_examples * evaluated_s,
            "combine": 0.0,
            "evaluate": (sizes.val_examples + sizes.test_examples) * evaluated_s + self._speeds.build_s,
            "clear": 0.0,
        }
        return {
            kind: value + self._count(kind) * self._speeds.task_s + self._transfer_s(self.files.of(kind))
            for kind, value in worked.items()
        }

    def _count(self, kind: TaskKind) -> int:
        """Attempts of a kind."""
        match kind:
            case "extract":
                return self._settings.workers if self._sizes.feature_bytes else 0
            case "train":
                return self._settings.workers * self.rounds
            case "combine":
                return self.slices * self.rounds
            case "clear":
                return self.files.clearings
            case _:
                return 1

    @property
    def _extraction_core_s(self) -> float:
        return self._sizes.all_examples * self._sizes.backbone_s if self._sizes.feature_bytes else 0.0

    def _transfer_s(self, moved: Transfer) -> float:
        speeds = self._speeds
        return moved.read_bytes / speeds.read_bytes_per_s + moved.written_bytes / speeds.write_bytes_per_s

    def _round_bytes(self) -> int:
        of_worker = self.files.update_bytes + self.files.state_bytes
        return self._settings.workers * of_worker + 2 * self.files.vector_bytes


def side_by_side(workers: int, cores: int, threads: int) -> float:
    """How many workers are at work at once, over a round: of three on two cores one has to wait for its turn."""
    places = max(1, cores // threads)
    return workers / math.ceil(workers / places)
