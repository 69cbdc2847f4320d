"""What the shared file system bills: bytes measured while a function works, and the most that it may move.

EFS with elastic throughput bills every byte read and written. A data operation counts as at least 32 KiB and is
rounded up to 1 KiB; a metadata operation as 4 KiB (AWS: "How Amazon EFS reports file system and object sizes",
https://docs.aws.amazon.com/efs/latest/ug/metered-sizes.html). With many workers and parameters this costs more than
the compute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from contracts.ports import OpenFile, SharedFiles
from contracts.records import FileRef, Run, TaskKind, Transfer
from contracts.settings import RunSettings
from training.feature_blocks import FEATURE_BYTES, MAX_FEATURES, SPLITS

LEAST_DATA_BYTES = 32 << 10
DATA_STEP_BYTES = 1 << 10
METADATA_BYTES = 4 << 10
METADATA_WRITES = 2
"""A file is created under a temporary name and renamed."""

NOTHING = Transfer()

ALLOWANCE_BYTES = 1 << 20
"""On top of what is known of an attempt: headers, least sizes, metadata."""

HEADROOM = 1.02
"""Tensor files hold names and shapes beside the values."""

OPENED_BYTES = METADATA_BYTES + 2 * LEAST_DATA_BYTES
"""Of each update that a combine task opens, beside its part: the last byte is looked at, the last block is short."""

HELD_SHARE = 0.5
"""Of a worker's memory: more than this of data or parameters it cannot hold beside TensorFlow and its own copy."""


def metered_bytes(count: int) -> int:
    """What one data operation of `count` bytes counts as."""
    return max(LEAST_DATA_BYTES, -(-count // DATA_STEP_BYTES) * DATA_STEP_BYTES)


def total(moved: Iterable[Transfer]) -> Transfer:
    """All together."""
    read, written = 0, 0
    for one in moved:
        read, written = read + one.read_bytes, written + one.written_bytes
    return Transfer(read_bytes=read, written_bytes=written)


class TransferMeter:
    """Adds up what one execution reads and writes."""

    def __init__(self) -> None:
        self._read_bytes = 0
        self._written_bytes = 0

    @property
    def transfer(self) -> Transfer:
        """So far."""
        return Transfer(read_bytes=self._read_bytes, written_bytes=self._written_bytes)

    def looked(self) -> None:
        """A file was opened, or a folder listed."""
        self._read_bytes += METADATA_BYTES

    def read(self, count: int) -> None:
        """Data were read."""
        self._read_bytes += metered_bytes(count)

    def changed(self, times: int = 1) -> None:
        """Files were created, renamed or removed."""
        self._written_bytes += times * METADATA_BYTES

    def wrote(self, count: int) -> None:
        """Data were written."""
        self._written_bytes += metered_bytes(count)


_meter: ContextVar[TransferMeter | None] = ContextVar("transfer_meter", default=None)


@contextmanager
def metering() -> Iterator[TransferMeter]:
    """Measure what goes through any `MeteredFiles` meanwhile, in this thread of control alone."""
    meter = TransferMeter()
    before = _meter.set(meter)
    try:
        yield meter
    finally:
        _meter.reset(before)


class MeteredFile:
    """Implements `contracts.ports.OpenFile` around another."""

    def __init__(self, file: OpenFile, meter: TransferMeter) -> None:
        self._file = file
        self._meter = meter

    def __enter__(self) -> OpenFile:
        self._file.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._file.__exit__(*error)

    def read_into(self, offset: int, buffer: Any) -> None:
        """See `OpenFile.read_into`."""
        self._file.read_into(offset, buffer)
        self._meter.read(memoryview(buffer).nbytes)

    def view(self, offset: int, size: int) -> memoryview | None:
        """See `OpenFile.view`."""
        view = self._file.view(offset, size)
        if view is not None:
            self._meter.read(size)
        return view


class MeteredFiles:
    """Implements `contracts.ports.SharedFiles` around another; tells the meter, where there is one.

    What the kernel's cache answered is counted as well, so the figure is never too low.
    """

    def __init__(self, files: SharedFiles) -> None:
        self._files = files

    def write(self, path: str, buffers: Iterable[Any], *, durable: bool) -> int:
        """See `SharedFiles.write`."""
        written = self._files.write(path, buffers, durable=durable)
        if (meter := _meter.get()) is not None:
            meter.changed(METADATA_WRITES)
            meter.wrote(written)
        return written

    def open(self, path: str) -> OpenFile:
        """See `SharedFiles.open`."""
        file = self._files.open(path)
        meter = _meter.get()
        if meter is None:
            return file
        meter.looked()
        return MeteredFile(file, meter)

    def read_into(self, path: str, offset: int, buffer: Any) -> None:
        """See `SharedFiles.read_into`."""
        self._files.read_into(path, offset, buffer)
        self._note_read(memoryview(buffer).nbytes)

    def read(self, path: str) -> bytes:
        """See `SharedFiles.read`."""
        content = self._files.read(path)
        self._note_read(len(content))
        return content

    def exists(self, path: str) -> bool:
        """See `SharedFiles.exists`."""
        self._note_look()
        return self._files.exists(path)

    def names(self, path: str) -> Sequence[str]:
        """See `SharedFiles.names`."""
        self._note_look()
        return self._files.names(path)

    def remove(self, path: str) -> None:
        """See `SharedFiles.remove`. What lies in a folder is not counted one by one."""
        if (meter := _meter.get()) is not None:
            meter.changed()
        self._files.remove(path)

    def local_path(self, path: str) -> str:
        """See `SharedFiles.local_path`."""
        return self._files.local_path(path)

    def _note_look(self) -> None:
        if (meter := _meter.get()) is not None:
            meter.looked()

    def _note_read(self, count: int) -> None:
        if (meter := _meter.get()) is not None:
            meter.looked()
            meter.read(count)


def most(run: Run, kind: TaskKind) -> Transfer:
    """The most that one attempt of the run's current round may move: in a new environment, which has nothing warm.

    What `prepare` and `initialise` write is known only afterwards; a worker must hold it in its memory, which bounds
    it, as it does a backbone's weights. Everything else follows from the sizes of the parameters, the workers' state
    and the data.
    """
    parameters, state = _bytes(run.parameters), _bytes([run.initial_state])
    constants = _bytes([run.constants])
    slices, halved = max(1, run.slices), run.settings.update_dtype == "bfloat16"
    match kind:
        case "initialise" if run.settings.backbone_digest and "files" not in run.feature_facts:
            # Blocks are read twice to be joined. Where one is damaged all are read once more, computed again if all
            # are, with the weights, and joined again.
            features = _examples(run) * run.feature_facts.get("width", 0) * FEATURE_BYTES
            held = _held_bytes(run.settings)
            return _transfer(5 * features + run.data_facts.get("bytes", 0) + held, 3 * features + held)
        case "prepare" | "initialise":
            return _transfer(0, _held_bytes(run.settings))
        case "extract":
            share = -(-_examples(run) // run.settings.workers)
            examples = run.data_facts.get("bytes", 0)
            return _transfer(examples + _held_bytes(run.settings), share * MAX_FEATURES * FEATURE_BYTES)
        case "train":
            # A checkpoint holds the parameters, the state and, where gradients are accumulated, their sums.
            # What rounding takes from an update is kept beside them.
            checkpoint = 2 * parameters + state + (parameters // 2 if halved else 0)
            data = data_bytes(run, "train", "val") + _shown_bytes(run)
            return _transfer(parameters + constants + checkpoint + data, checkpoint)
        case "combine":
            outer = 2 * parameters  # Adam's two vectors; the others have one or none
            updates = run.settings.workers * (parameters // 2 if halved else parameters)
            read, written = (-(-total // slices) for total in (updates + parameters + outer, parameters + outer))
            return _transfer(read + run.settings.workers * OPENED_BYTES, written)
        case "evaluate":
            # Written twice: as a Keras model and as plain tensors.
            model = parameters + constants + (_held_bytes(run.settings) if run.settings.backbone_digest else 0)
            return _transfer(model + data_bytes(run, "val", "test"), 3 * model)
        case "clear":
            return _transfer(0, run.settings.workers * METADATA_BYTES)


def most_before_start(settings: RunSettings, kind: TaskKind) -> Transfer:
    """As `most`, while nothing is known of the model and the data."""
    return _transfer(0, _held_bytes(settings) if kind in ("prepare", "initialise") else 0)


def data_bytes(run: Run, *splits: str) -> int:
    """Bytes of some of `train`, `val` and `test` as workers read them; 0 where the facts do not say."""
    files = run.data_facts.get("files", {}) | run.feature_facts.get("files", {})
    if not files:
        return 0
    return sum(int(files.get(f"{axis}_{split}", {}).get("bytes", 0)) for axis in "xy" for split in splits)


def _shown_bytes(run: Run) -> int:
    """Validation pictures themselves, which are shown, where features of them are trained on."""
    if not run.feature_facts.get("files"):
        return 0
    return int(run.data_facts.get("files", {}).get("x_val", {}).get("bytes", 0))


def _examples(run: Run) -> int:
    return sum(int(run.data_facts.get(f"{split}_examples", 0)) for split in SPLITS)


def _held_bytes(settings: RunSettings) -> int:
    return int(settings.memory_mb * HELD_SHARE) << 20


def _transfer(read: int, written: int) -> Transfer:
    return Transfer(
        read_bytes=int(read * HEADROOM) + ALLOWANCE_BYTES, written_bytes=int(written * HEADROOM) + ALLOWANCE_BYTES
    )


def _bytes(refs: Iterable[FileRef | None]) -> int:
    return sum(ref.bytes for ref in refs if ref is not None)
