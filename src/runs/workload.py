"""The work of a planned run: every function's seconds, every file's bytes, from sizes and a step's time. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from contracts.records import (
    AttemptRecord,
    FileRef,
    Report,
    RoundPlan,
    RoundRecord,
    Run,
    Span,
    Task,
    TaskKey,
    TaskKind,
    Transfer,
)
from contracts.settings import RunSettings
from runs.bill import POLLS_PER_S, cold_start_gets, function_use, light_functions
from runs.half_updates import error_bytes, update_bytes
from runs.price_list import BYTES_PER_GB
from runs.slices import slice_count
from runs.table_units import TableUnits, round_units, write_units
from runs.transfer import METADATA_BYTES, METADATA_WRITES, metered_bytes
from runs.usage import MONTH_S, RANGE_BYTES, Usage
from training.samples import SAMPLES
from training.shards import is_validation_round

COLD_TRAIN_S = 30.0
COLD_LIGHT_S = 2.0
HOPS_S = 1.0
"""A round waits for two hops through the table's stream."""

INVOKES_PER_S = 128.0
EFS_READ_BYTES_PER_S = 300e6
EFS_WRITE_BYTES_PER_S = 100e6
TASK_S = 0.15
"""Of each task beside its work: claims, reports, assigning variables."""

VCPU_MB = 1_769
EVALUATED_STEP_SHARE = 1 / 3
"""Of a training step's time that an evaluated batch takes: there is no way back."""

STEPS_BYTES = 1_100.0
"""Of an attempt's packed steps and spans."""

PREDICTIONS_BYTES = 1_300
SAMPLE_BYTES = 30
THUMBNAIL_BYTES = 3_500
"""Of an item of predictions with the confusion counts of ten classes, each sample in it, and a picture at most."""

LAPTOP_ROUND_S = 0.03
LAPTOP_START_S = 6.0
DIGEST = "0" * 32
NONCE = "0" * 16


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


class Workload:
    """The sums behind an estimate: every function's seconds and bytes, kind by kind."""

    def __init__(self, settings: RunSettings, sizes: Sizes, step: StepTime, plan: RoundPlan) -> None:
        self._settings, self._sizes, self._step, self._plan = settings, sizes, step, plan
        self._vector_bytes = 4 * sizes.parameters
        self._update_bytes = update_bytes(settings, sizes.parameters)
        self._state_bytes = sizes.state_bytes + error_bytes(settings, sizes.parameters)
        self.slices = slice_count(settings, self._update_bytes)
        if plan.rounds_per_epoch > 1:
            epochs = plan.total_rounds / plan.rounds_per_epoch
        else:
            epochs = min(plan.total_rounds * plan.epochs_per_round, settings.epochs or math.inf)
        self.steps = math.ceil(epochs * plan.examples / (settings.workers * settings.batch_size))
        self.rounds = plan.total_rounds
        self.validations = sum(
            is_validation_round(plan, settings, index) for index in range(1, min(self.rounds, 100_000) + 1)
        )
        self._slowdown = max(1.0, step.threads / (settings.memory_mb / VCPU_MB))

    def usage(self) -> Usage:
        """Of all functions, files and requests."""
        settings = self._settings
        seconds = self._seconds()
        uses = [function_use(settings, kind, value, self._count(kind)) for kind, value in seconds.items()]
        cold_s = COLD_TRAIN_S * self._environments()
        cold = function_use(settings, "train", cold_s, 0)._replace(name="Train: cold starts", in_budget=False)
        units = self._table_units()
        duration_s = self.duration_s()
        tasks = sum(self._count(kind) for kind in seconds)
        light = light_functions(settings.workers, self.rounds, tasks, units, duration_s)
        data = self._sizes.data_bytes + self._sizes.test_bytes + self._all_examples * self._sizes.feature_bytes
        return Usage(
            functions=[*(use._replace(estimated=True) for use in [*uses, cold]), *light],
            transfer=self._transfer(),
            recorded=False,
            stored_gb_months=(data + 3 * self._round_bytes()) / BYTES_PER_GB * duration_s / MONTH_S,
            table_writes=units.writes,
            table_reads=units.reads,
            table_bytes=units.stored_bytes,
            stream_reads=math.ceil(duration_s * POLLS_PER_S),
            s3_gets=cold_start_gets(self._environments()) + math.ceil(data / RANGE_BYTES),
        )

    def duration_s(self) -> float:
        """On AWS, from start to end: every round waits for its slowest step."""
        invoking_s: float = self._settings.workers / INVOKES_PER_S
        waves = math.ceil(self._settings.workers / self._settings.concurrency)
        seconds = self._seconds()
        per_round = {kind: seconds[kind] / self._count(kind) for kind in ("train", "combine")}
        a_round = waves * per_round["train"] + per_round["combine"] + HOPS_S + invoking_s
        others = sum(seconds[kind] for kind in ("prepare", "initialise", "evaluate", "clear"))
        others += seconds["extract"] / max(1, min(self._settings.workers, self._settings.concurrency))
        return COLD_TRAIN_S + COLD_LIGHT_S + self.rounds * a_round + others + 4 * HOPS_S

    def laptop_s(self, cores: int) -> float:
        """On this machine: as many workers side by side as it has cores."""
        busy_s = self.core_s() / min(cores, max(1, self._settings.workers * self._step.threads))
        return LAPTOP_START_S + busy_s + self.rounds * LAPTOP_ROUND_S

    def core_s(self) -> float:
        """Of a backbone's outputs, training, validation and test, on one core."""
        batches = self.validations * self._sizes.val_examples / self._settings.batch_size
        batches += (self._sizes.test_examples + self._sizes.val_examples) / self._settings.batch_size
        steps = self.steps * self._settings.workers + batches * EVALUATED_STEP_SHARE
        return steps * self._step.seconds * self._step.threads + self._extraction_core_s

    def run(self) -> Run:
        """The run as it will stand in its second round, for the sums that go by a run."""
        sizes, vector = self._sizes, FileRef(path="p" * 70, bytes=self._vector_bytes, count=1, parts=(DIGEST,))
        slices = tuple(self._ref(self._vector_bytes // self.slices, 1) for _ in range(self.slices))
        workers = self._settings.workers
        files = {"x_train": {"bytes": sizes.data_bytes}, "x_test": {"bytes": sizes.test_bytes}}
        nonces = dict.fromkeys(range(workers), NONCE)
        return Run(
            run_id="r-0000000000",
            version=2,
            settings=self._settings,
            code_version="0.1.0+0000000000000000",
            created_at=1e9,
            deadline_at=1e9,
            round_index=2,
            inputs=nonces,
            previous_inputs=nonces,
            data_facts={"files": files},
            plan=self._plan,
            parameter_count=sizes.parameters,
            slice_bounds=tuple(range(self.slices + 1)),
            parameters=slices if self.slices > 1 else (vector,),
            outer=slices,
            initial_state=self._ref(sizes.state_bytes, 1) if sizes.state_bytes else None,
            constants=self._ref(sizes.constants_bytes, 1) if sizes.constants_bytes else None,
        )

    def _seconds(self) -> dict[TaskKind, float]:
        """Of each kind of task, all attempts together."""
        settings, sizes = self._settings, self._sizes
        step_s = self._step.seconds * self._slowdown
        val_batches = self.validations * sizes.val_examples / settings.batch_size
        train_s = (self.steps * settings.workers + val_batches * EVALUATED_STEP_SHARE) * step_s
        test_batches = (sizes.val_examples + sizes.test_examples) / settings.batch_size
        worked: dict[TaskKind, float] = {
            "prepare": 0.0,
            "extract": self._extraction_core_s / (settings.memory_mb / VCPU_MB),
            "initialise": 1.0,
            "train": train_s,
            "combine": 0.0,
            "evaluate": test_batches * EVALUATED_STEP_SHARE * step_s + 1.0,
            "clear": 0.0,
        }
        return {
            kind: value + self._count(kind) * TASK_S + _transfer_s(self._kind_transfer(kind))
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
                return 1 + self.rounds // 8
            case _:
                return 1

    @property
    def _extraction_core_s(self) -> float:
        return self._all_examples * self._sizes.backbone_s if self._sizes.feature_bytes else 0.0

    @property
    def _all_examples(self) -> int:
        return self._sizes.examples + self._sizes.val_examples + self._sizes.test_examples

    def _environments(self) -> int:
        return min(self._settings.workers, self._settings.concurrency)

    def _transfer(self) -> Transfer:
        kinds: tuple[TaskKind, ...] = ("prepare", "extract", "initialise", "train", "combine", "evaluate", "clear")
        moved = [self._kind_transfer(kind) for kind in kinds]
        return Transfer(
            read_bytes=sum(one.read_bytes for one in moved), written_bytes=sum(one.written_bytes for one in moved)
        )

    def _kind_transfer(self, kind: TaskKind) -> Transfer:
        """All bytes of a kind of task: θ and its state to every worker, updates to every slice, and back."""
        sizes, workers, slices = self._sizes, self._settings.workers, self.slices
        slice_bytes = -(-self._vector_bytes // slices)
        outer = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2}[self._settings.outer.kind]
        theta = [slice_bytes] * slices
        state = [sizes.state_bytes] if sizes.state_bytes else []
        own = [self._state_bytes] if self._state_bytes else []
        constants = [sizes.constants_bytes] if sizes.constants_bytes else []
        match kind:
            case "prepare":
                return _files([], [sizes.data_bytes, sizes.test_bytes])
            case "extract":
                read = [sizes.data_bytes, sizes.test_bytes, sizes.weights_bytes]
                features_bytes = self._all_examples * sizes.feature_bytes
                return _files(read, [features_bytes // workers], self._count(kind))
            case "initialise":
                features = [self._all_examples * sizes.feature_bytes] if sizes.feature_bytes else []
                return _files([*features, *features], [*theta, *state, *constants, *features])
            case "train":
                warm = _files([*theta, *own, *constants], [self._update_bytes, *own], self._count(kind))
                trained_on = (sizes.examples + sizes.val_examples) * sizes.feature_bytes or sizes.data_bytes
                return _sum(warm, _files([trained_on], [], self._environments()))
            case "combine":
                state_bytes = [outer * slice_bytes] if outer else []
                update = -(-self._update_bytes // slices)
                reads = [*([update] * workers), slice_bytes, *state_bytes]
                return _files(reads, [slice_bytes, *state_bytes], self._count(kind))
            case "evaluate":
                model = self._vector_bytes + sizes.constants_bytes + sizes.weights_bytes
                return _files([*theta, *constants, sizes.test_bytes], [model, model])
            case "clear":
                return Transfer(written_bytes=METADATA_BYTES * self._count("train") // 2)

    def _round_bytes(self) -> int:
        return self._settings.workers * (self._update_bytes + self._state_bytes) + 2 * self._vector_bytes

    def _table_units(self) -> TableUnits:
        """By one typical round's records, and what is kept for display."""
        run = self.run()
        run_bytes = len(msgspec.json.encode(run))
        record = RoundRecord(
            round_index=2,
            generation=1,
            committed_at=1e9,
            examples=1,
            epochs=1.0,
            metrics=dict.fromkeys(("train/loss", "train/accuracy"), 1.0),
            inputs=run.inputs,
            parameters=run.parameters,
            cost_usd=0.001,
        )
        tasks = [self._task("train", index) for index in range(self._settings.workers)]
        tasks += [self._task("combine", index) for index in range(self.slices)]
        one = round_units(run, run_bytes, tasks, record)
        shown_writes, shown_bytes = self._display()
        return TableUnits(
            writes=one.writes * self.rounds + shown_writes,
            reads=one.reads * self.rounds,
            stored_bytes=one.stored_bytes * self.rounds + shown_bytes,
            reconciles=one.reconciles * self.rounds,
        )

    def _display(self) -> tuple[float, float]:
        """Units written, and bytes: packed steps and spans of each attempt, predictions of those that validate."""
        workers, sizes = self._settings.workers, self._sizes
        writes = 3.0 * self._count("train") + self._count("combine")
        stored = STEPS_BYTES * self._count("train")
        if sizes.val_examples and self.validations:
            samples = min(SAMPLES, sizes.val_examples)
            item_bytes = PREDICTIONS_BYTES + SAMPLE_BYTES * samples / workers
            example_bytes = sizes.data_bytes / (sizes.examples + sizes.val_examples)
            pictures_bytes = samples * min(example_bytes * 4 / 3, THUMBNAIL_BYTES)  # base64; once in a run
            writes += workers * self.validations * write_units(item_bytes) + write_units(pictures_bytes)
            stored += workers * self.validations * item_bytes + pictures_bytes
        return writes, stored

    def _task(self, kind: TaskKind, index: int) -> Task:
        """As large as such a task's record is when it is done."""
        third = 1 / 3
        spans = tuple(Span(name="evaluate", start_s=1e9 + third, end_s=1e9 + third) for _ in range(5))
        report = Report(
            outcome="done",
            nonce=NONCE,
            outputs={"update": self._ref(1, self.slices if kind == "train" else 1), "state": self._ref(1, 1)},
            metrics=dict.fromkeys(("loss", "accuracy", "val_loss_sum"), third),
            examples=100,
            steps_done=10,
            spans=spans,
            fingerprint="f" * 110,
        )
        record = AttemptRecord(
            attempt=1,
            nonce=NONCE,
            outcome="done",
            started_at=third,
            ended_at=third,
            cost_usd=third,
            request_id="r" * 36,
        )
        key = TaskKey(round_index=2, kind=kind, index=index)
        return Task(key=key, version=3, status="DONE", attempt=1, report=report, history=(record,))

    def _ref(self, count: int, parts: int) -> FileRef:
        return FileRef(path="p" * 70, bytes=count, count=count, parts=(DIGEST,) * parts)


def _files(reads: Iterable[int], writes: Iterable[int], times: int = 1) -> Transfer:
    """Whole files read and written, as they are metered."""
    read = sum(METADATA_BYTES + metered_bytes(count) for count in reads)
    written = sum(METADATA_WRITES * METADATA_BYTES + metered_bytes(count) for count in writes)
    return Transfer(read_bytes=times * read, written_bytes=times * written)


def _sum(one: Transfer, two: Transfer) -> Transfer:
    return Transfer(read_bytes=one.read_bytes + two.read_bytes, written_bytes=one.written_bytes + two.written_bytes)


def _transfer_s(moved: Transfer) -> float:
    return moved.read_bytes / EFS_READ_BYTES_PER_S + moved.written_bytes / EFS_WRITE_BYTES_PER_S
