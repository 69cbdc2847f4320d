"""What a planned run's records take of the table: sample records as large as a run's, through the sums for real ones.

Pure. Digests, nonces and times are made up; what decides is how long a record is, as units are begun kilobytes.
"""

from __future__ import annotations

import math
from typing import Any

from contracts.records import (
    AttemptRecord,
    Best,
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
from runs.planned_files import LABEL_BYTES, PlannedFiles
from runs.table_units import (
    PHASES,
    STAGE_CHANGES_A_ROUND,
    TableUnits,
    record_bytes,
    round_units,
    run_units,
    write_units,
)
from runs.worker_telemetry import FLUSH_MIN_S, FLUSH_WORKERS_PER_S
from training.samples import SAMPLES

STEPS_BYTES = 280
STEP_BYTES = 24
"""Of an item of packed steps, and of each step in it."""

SPANS_BYTES = 600
PREDICTIONS_BYTES = 600
SAMPLE_BYTES = 25
THUMBNAIL_BYTES = 3_500
"""Of an item of predictions with its confusion counts, each sample in it, and a picture at most."""

PICTURE_SHARE = 4 / 3
"""Of a picture's bytes in a record: they stand there as base64."""

DIGEST = "0" * 32
NONCE = "0" * 16
THIRD = 1 / 3
ACCURACY = 0.98625
"""A share of so many examples has fewer digits than a loss."""

TIME = 1_795_270_920 + THIRD
DIGITS = tuple("0123456789")
RESULTS = {"val_loss": THIRD, "val_accuracy": ACCURACY, "test_loss": THIRD, "test_accuracy": ACCURACY}
FINGERPRINT = (
    "tensorflow 2.21.0, keras 3.15.1, x86_64 avx2+fma, caches 32K/512K/32768K, oneDNN on, 1 thread, deterministic"
)


class PlannedRecords:
    """The records of a run.

    Args:
        files: that they name.
        steps: of one worker in all rounds.
        step_s: of one of them.
    """

    def __init__(self, files: PlannedFiles, plan: RoundPlan, steps: int, step_s: float) -> None:
        self._files, self._plan, self._steps, self._step_s = files, plan, steps, step_s
        self._settings, self._sizes, self._slices = files.settings, files.sizes, files.slices

    def units(self) -> TableUnits:
        """Of the whole run."""
        run = self.run()
        size_bytes = record_bytes(run)
        rounds, workers = self._plan.total_rounds, range(self._settings.workers)
        found = run_units(run, size_bytes)
        extracts = [self._task(0, "extract", index) for index in workers] if self._sizes.feature_bytes else []
        begin = [self._task(0, "prepare"), *extracts, self._task(0, "initialise")]
        end = [self._task(rounds + 1, "evaluate"), self._task(rounds + 1, "clear")]
        for tasks in (begin, end):
            found = found.plus(round_units(run, size_bytes, tasks, None))
        for index, times in ((1, 1), (2, rounds - 1)):
            tasks = [self._task(index, "train", worker) for worker in workers]
            tasks += [self._task(index, "combine", number) for number in range(self._slices)]
            found = found.plus(_times(round_units(run, size_bytes, tasks, self._round(run, index)), times))
        clear = round_units(run, size_bytes, [self._task(2, "clear")], None)
        found = found.plus(_times(clear, self._files.clearings - 1))
        return found.plus(self._shown())

    def run(self) -> Run:
        """The run as it will stand at its end."""
        sizes, settings, rounds = self._sizes, self._settings, self._plan.total_rounds
        slice_bytes = self._files.vector_bytes // self._slices
        slices = tuple(_ref("parameters", slice_bytes) for _ in range(self._slices))
        outer = tuple(_ref("outer", slice_bytes) for _ in range(self._slices))
        nonces = dict.fromkeys(range(settings.workers), NONCE)
        places = settings.concurrency * settings.in_flight_per_place
        grants = max(0, settings.workers - places) + max(0, self._slices - places)
        figures = {"val/loss": THIRD, "val/accuracy": ACCURACY} if self._files.validations else {}
        return Run(
            run_id="r-0000000000",
            version=PHASES + STAGE_CHANGES_A_ROUND * rounds + grants * rounds,
            settings=settings,
            code_version="0.1.0+0000000000000000",
            created_at=TIME,
            deadline_at=TIME,
            started_at=TIME,
            ended_at=TIME,
            status="FINISHED",
            reason="rounds",
            phase="CLEARING",
            round_index=rounds + 1,
            previous_inputs=nonces,
            data_facts=self._facts(),
            plan=self._plan,
            parameter_count=sizes.parameters,
            trainable_count=sizes.parameters,
            slice_bounds=tuple(sizes.parameters * index // self._slices for index in range(self._slices + 1)),
            parameters=slices,
            outer=outer if settings.outer.kind != "sgd" else (),
            initial_state=_ref("state", sizes.state_bytes) if sizes.state_bytes else None,
            constants=_ref("constants", sizes.constants_bytes) if sizes.constants_bytes else None,
            fingerprint=FINGERPRINT,
            spent_usd=THIRD,
            examples_seen=self._plan.examples * rounds,
            train_loss=THIRD,
            validation=figures,
            best=Best(round_index=rounds, value=ACCURACY, parameters=slices) if figures else None,
            stop_reason="rounds",
            final_round=rounds,
            cleared_through=rounds + 1,
            results={**RESULTS, "parameters_sha256": 2 * DIGEST},
        )

    def _facts(self) -> dict[str, Any]:
        sizes = self._sizes
        counts = {"train": sizes.examples, "val": sizes.val_examples, "test": sizes.test_examples}
        known = max(1, sizes.examples + sizes.val_examples)
        files = {}
        for split, count in counts.items():
            total = sizes.test_bytes if split == "test" else sizes.data_bytes * count // known
            labels = min(LABEL_BYTES * count, total // 2)
            files[f"x_{split}"] = {"bytes": total - labels, "digest": DIGEST}
            files[f"y_{split}"] = {"bytes": labels, "digest": DIGEST}
        return {
            "name": self._settings.dataset,
            "folder": f"datasets/{self._settings.dataset}-{DIGEST}",
            **{f"{split}_examples": count for split, count in counts.items()},
            "x_shape": [28, 28],
            "x_dtype": "float32",
            "y_shape": [],
            "y_dtype": "int64",
            "classes": len(DIGITS),
            "class_names": DIGITS,
            "bytes": sizes.data_bytes + sizes.test_bytes,
            "files": files,
        }

    def _round(self, run: Run, round_index: int) -> RoundRecord:
        return RoundRecord(
            round_index=round_index,
            generation=1,
            committed_at=TIME,
            examples=self._plan.examples_per_round,
            epochs=THIRD,
            metrics=dict.fromkeys(("train/loss", "train/accuracy"), THIRD),
            inputs=run.previous_inputs,
            parameters=run.parameters,
            cost_usd=THIRD / 100,
        )

    def _task(self, round_index: int, kind: TaskKind, index: int = 0) -> Task:
        """As large as such a task's record is when it is done."""
        nonce, moved = NONCE, Transfer(read_bytes=self._files.vector_bytes, written_bytes=self._files.vector_bytes)
        report = Report(
            outcome="done",
            nonce=nonce,
            spans=tuple(Span(name="evaluate", start_s=TIME, end_s=TIME) for _ in range(5 if kind == "train" else 3)),
            transfer=moved,
            **self._said(kind),
        )
        record = AttemptRecord(
            attempt=1, nonce=nonce, outcome="done", started_at=TIME, ended_at=TIME, cost_usd=THIRD / 100,
            request_id="r" * 36, transfer=moved,
        )  # fmt: skip
        key = TaskKey(round_index=round_index, kind=kind, index=index, generation=int(kind == "combine"))
        return Task(
            key=key, version=3, status="DONE", attempt=1, offers=1, offer_expires_at=TIME, report=report,
            history=(record,),
        )  # fmt: skip

    def _said(self, kind: TaskKind) -> dict[str, Any]:
        """What a kind of task reports beside the usual."""
        slice_bytes = self._files.vector_bytes // self._slices
        match kind:
            case "train":
                outputs = {"update": _ref("updates", self._files.update_bytes, self._slices)}
                outputs |= {"state": _ref("state", self._files.state_bytes)} if self._files.state_bytes else {}
                metrics = dict.fromkeys(("loss", "accuracy"), THIRD)
                return {"outputs": outputs, "metrics": metrics, "examples": 100, "steps_done": 10,
                        "fingerprint": FINGERPRINT, "peak_memory_bytes": 1_000_000_000}  # fmt: skip
            case "combine":
                parts = ("parameters", "outer") if self._settings.outer.kind != "sgd" else ("parameters",)
                return {"outputs": {name: _ref(name, slice_bytes) for name in parts}}
            case "initialise":
                outputs = {f"parameters-{index}": _ref("parameters", slice_bytes) for index in range(self._slices)}
                return {"outputs": outputs, "facts": {"features": {}}, "fingerprint": FINGERPRINT}
            case "prepare":
                return {"facts": self._facts()}
            case "evaluate":
                return {"facts": {**RESULTS, "parameters_sha256": 2 * DIGEST}, "fingerprint": FINGERPRINT}
            case _:
                return {}

    def _shown(self) -> TableUnits:
        """Packed steps, spans and predictions: written, and kept for display."""
        workers, sizes, rounds = self._settings.workers, self._sizes, self._plan.total_rounds
        flush_s = max(FLUSH_MIN_S, workers / FLUSH_WORKERS_PER_S)
        steps_each = max(1, self._steps / max(1, rounds))
        batches = 1 + min(math.floor(steps_each * self._step_s / flush_s), math.ceil(steps_each) - 1)
        batch_bytes = STEPS_BYTES + STEP_BYTES * steps_each / batches
        trains = workers * rounds
        attempts = trains + self._slices * rounds + self._files.clearings + 3
        writes = float(trains * batches * write_units(batch_bytes) + attempts * write_units(SPANS_BYTES))
        stored = float(trains * batches * batch_bytes + attempts * SPANS_BYTES)
        if validations := self._files.validations * bool(sizes.val_examples):
            showing, samples = min(workers, sizes.val_examples), min(SAMPLES, sizes.val_examples)
            item_bytes = PREDICTIONS_BYTES + SAMPLE_BYTES * samples / showing
            example_bytes = sizes.data_bytes / (sizes.examples + sizes.val_examples)
            pictures_bytes = samples * min(example_bytes * PICTURE_SHARE, THUMBNAIL_BYTES)  # once in a run
            writes += showing * validations * write_units(item_bytes) + write_units(pictures_bytes)
            stored += showing * validations * item_bytes + pictures_bytes
        return TableUnits(writes, 0.0, stored, 0.0)


def _ref(folder: str, count: int, parts: int = 1) -> FileRef:
    path = f"runs/r-0000000000/{folder}/000016/slice-00-of-01.{NONCE}.npy"
    return FileRef(path=path, bytes=count, count=count, dtype="float32", parts=(DIGEST,) * parts)


def _times(units: TableUnits, times: int) -> TableUnits:
    return TableUnits(*(value * times for value in units))
