"""Training and files without numbers: a file's content is the text of where it came from.

No two executions write the same content, so whatever mixes two of them shows. The use cases are the real ones
(`runs.train`, `runs.combine`); only what they read, compute and write is replaced.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from contracts.errors import TornFile
from contracts.records import FileRef, Run
from runs.execute import Execution
from runs.trainer import Initial, Validation
from training.combine import TornUpdates, Update
from training.feature_blocks import Block

TORN = "torn"
DIGEST = "0" * 32
STEPS = 2
DATA_FACTS = {"name": "none", "folder": "datasets/none-0", "train_examples": 8, "val_examples": 2, "test_examples": 2}
"""With a frozen backbone these are three blocks: one for one worker, two for the other."""


class Origin(NamedTuple):
    """What a file was made of. Executions are named by their nonces.

    `parameters` are the writers of the slices that it began with, `updates` the writers of the updates combined,
    `state` the writer of the worker's or outer state read.
    """

    kind: str
    writer: str
    generation: int = 0
    parameters: tuple[str, ...] = ()
    updates: tuple[str, ...] = ()
    state: str = ""
    steps: int = 0

    def text(self) -> str:
        """As a file's content."""
        lists = (",".join(self.parameters), ",".join(self.updates))
        return "|".join((self.kind, self.writer, str(self.generation), *lists, self.state, str(self.steps)))


@cache
def origin_of(text: str) -> Origin:
    """The origin that a file's content tells of."""
    kind, writer, generation, parameters, updates, state, steps = text.split("|")
    lists = (tuple(filter(None, names.split(","))) for names in (parameters, updates))
    return Origin(kind, writer, int(generation), *lists, state, int(steps))


def origin_named(ref: FileRef) -> Origin:
    """The origin of the file that a report or a run names."""
    return origin_of(ref.parts[0])


class AbstractFiles:
    """Implements SharedFiles over path → content. What is written waits in `written`."""

    def __init__(self, contents: dict[str, str]) -> None:
        self.contents = contents
        self.written: dict[str, str] = {}

    def write(self, path: str, buffers: Iterable[Any], *, durable: bool) -> int:
        content = "".join(bytes(buffer).decode() for buffer in buffers)
        self.written[path] = content
        return len(content)

    def read(self, path: str) -> bytes:
        if path not in self.contents:
            raise TornFile(path, "there is no such file", "one")
        return self.contents[path].encode()

    def exists(self, path: str) -> bool:
        return path in self.contents or bool(self.names(path))

    def names(self, path: str) -> Sequence[str]:
        prefix = f"{path}/"
        return sorted({name[len(prefix) :].split("/")[0] for name in self.contents if name.startswith(prefix)})

    def remove(self, path: str) -> None:
        self.contents = _without(self.contents, path)
        self.written = _without(self.written, path)


def _without(files: dict[str, str], path: str) -> dict[str, str]:
    return {name: text for name, text in files.items() if name != path and not name.startswith(f"{path}/")}


class AbstractVector:
    """Parameters or an update: the origins of its slices. `size` is the number of slices."""

    itemsize = 1

    def __init__(self, origins: Sequence[Origin]) -> None:
        self.origins = tuple(origins)

    @property
    def size(self) -> int:
        return len(self.origins)

    def __getitem__(self, part: slice) -> AbstractVector:
        return AbstractVector(self.origins[part])

    @property
    def writers(self) -> tuple[str, ...]:
        return tuple(origin.writer for origin in self.origins)


class AbstractShard:
    """Implements ShardInProgress: counts steps, one at a time so that any of them may be the last before a pause."""

    total_steps = STEPS
    mean_loss = 1.0
    mean_accuracy = 0.5

    def __init__(self) -> None:
        self.step = 0
        self._parameters: tuple[str, ...] = ()
        self._state = ""

    @property
    def examples(self) -> int:
        return 2 * self.step

    def start(self, parameters: AbstractVector, constants: Any, state: Mapping[str, Origin]) -> None:
        self._parameters, self._state = parameters.writers, state["origin"].writer

    def restore(self, constants: Any, checkpoint: Mapping[str, Origin]) -> None:
        origin = checkpoint["origin"]
        self._parameters, self._state, self.step = origin.parameters, origin.state, origin.steps

    def advance(self, steps: int) -> Any:
        self.step += 1
        return SimpleNamespace(first_step=self.step - 1, losses=[1.0], examples=[2], durations_ms=[1.0], accuracies=[])

    def _origin(self, kind: str) -> Origin:
        return Origin(kind, "", parameters=self._parameters, state=self._state, steps=self.step)

    def checkpoint(self) -> Mapping[str, Origin]:
        return {"origin": self._origin("checkpoint")}

    def update(self, parameters: AbstractVector) -> AbstractVector:
        return AbstractVector([self._origin("update")])

    def worker_state(self) -> Mapping[str, Origin]:
        return {"origin": self._origin("state")}


class AbstractTrainer:
    """Implements Trainer, for the execution that `working` was told of."""

    fingerprint = "abstract"

    def peak_memory_bytes(self) -> int:
        return 0

    def initial(self, run: Run) -> Initial:
        slices = [Origin("parameters", "")] * (run.settings.slices or 1)
        return Initial(AbstractVector(slices), len(slices), {}, {"origin": Origin("state", "")})  # type: ignore[arg-type, dict-item]

    def features(self, run: Run, split: str, low: int, high: int) -> Any:
        return np.zeros((high - low, 1), np.float16)

    def shard(self, *_: Any) -> AbstractShard:
        return AbstractShard()

    def validate(self, *_: Any) -> Validation:
        return Validation({"examples": 1, "loss_sum": 1.0})

    def test(self, *_: Any) -> dict[str, float]:
        return {"test_loss": 1.0}

    def export(self, run: Run, parameters: AbstractVector, constants: Any) -> dict[str, bytes]:
        return {"keras": ",".join(parameters.writers).encode()}


class NewestVector:
    """In place of `Services.newest_parameters`: keeps nothing, as a cold environment."""

    def read(self, files: Any, refs: Sequence[FileRef]) -> AbstractVector:
        return read_vector(files, refs)


_writers: list[str] = [""]


def working(execution: Execution) -> None:
    """From now on this execution is the one that writes."""
    _writers[0] = execution.nonce


def read_vector(files: Any, refs: Sequence[FileRef]) -> AbstractVector:
    """As `training.vector_files.read_vector`."""
    return AbstractVector([_read(files, ref) for ref in refs])


def read_tensors(files: Any, ref: FileRef) -> dict[str, Origin]:
    """As `training.vector_files.read_tensors`."""
    return {"origin": _read(files, ref)}


def _read(files: Any, ref: FileRef) -> Origin:
    content = files.read(ref.path).decode()
    if content != ref.parts[0]:
        raise TornFile(ref.path, f"it holds {content}", ref.parts[0])
    return origin_of(content)


def write_vector(files: Any, path: str, vector: AbstractVector, bounds: Sequence[int], *, durable: bool) -> FileRef:
    """As `training.vector_files.write_vector`; the content names the execution that is working."""
    return _write(files, path, vector.origins[0], durable)


def write_tensors(files: Any, path: str, tensors: Mapping[str, Origin], *, durable: bool) -> FileRef:
    """As `training.vector_files.write_tensors`."""
    return _write(files, path, tensors["origin"], durable)


def _write(files: Any, path: str, origin: Origin, durable: bool) -> FileRef:
    text = origin._replace(writer=_writers[0]).text()
    files.write(path, [text.encode()], durable=durable)
    return FileRef(path=path, bytes=1, count=1, parts=(text,))


def average_slice(files: Any, updates: Sequence[Update], bounds: Sequence[int], slice_index: int) -> tuple[str, ...]:
    """As `training.combine.average_slice`: the writers of the updates, every digest checked."""
    voids, first, writers = {}, None, []
    for update in updates:
        try:
            writers.append(_read(files, update.file).writer)
        except TornFile as torn:
            voids[update.worker_index] = update.nonce
            first = first or torn
    if first is not None:
        raise TornUpdates(voids, first)
    return tuple(writers)


def outer_step(
    execution: Execution, parameters: AbstractVector, mean: tuple[str, ...], state: dict[str, Origin]
) -> None:
    """In place of `runs.combine._step`: notes what went into the slice."""
    before = state["origin"].writer if state else ""
    made = Origin("parameters", "", execution.run.generation, parameters.writers, mean, before)
    parameters.origins = (made,)
    state["origin"] = made._replace(kind="outer")


def write_block(files: Any, folder: str, block: Block, features: Any) -> str:
    """As `training.feature_blocks.write_block`: whoever computes a block writes the same."""
    files.write(f"{folder}/blocks/{block}.{DIGEST}.safetensors", [str(block).encode()], durable=True)
    return DIGEST


def read_block(files: Any, folder: str, block: Block, digest: str) -> Any:
    """As `training.feature_blocks.read_block`."""
    path = f"{folder}/blocks/{block}.{digest}.safetensors"
    if (found := files.read(path).decode()) != str(block):
        raise TornFile(path, f"it holds {found}", str(block))
    return np.zeros((block.high - block.low, 1), np.float16)


def join_blocks(files: Any, folder: str, stored: Sequence[tuple[Block, str]]) -> dict[str, Any]:
    """As `training.feature_blocks.join_blocks`. The blocks stay: what is written is there one step later."""
    joined = [str(block) for block, digest in stored if len(read_block(files, folder, block, digest))]
    facts = {"folder": folder, "width": 1, "files": {"joined": joined}}
    files.write(f"{folder}/meta.json", [json.dumps(facts).encode()], durable=True)
    return facts


def joined_features(files: Any, folder: str) -> dict[str, Any] | None:
    """As `training.feature_blocks.joined_features`."""
    path = f"{folder}/meta.json"
    return json.loads(files.read(path)) if files.exists(path) else None


SUBSTITUTES: dict[str, dict[str, Any]] = {
    "training.feature_blocks": {
        "write_block": write_block,
        "read_block": read_block,
        "join_blocks": join_blocks,
        "joined_features": joined_features,
    },
    "runs.prepare": {"joined_features": joined_features},
    "runs.train": {
        "read_tensors": read_tensors,
        "write_tensors": write_tensors,
        "write_vector": write_vector,
        "parameters_digest": lambda parameters: ",".join(parameters.writers),
    },
    "runs.combine": {
        "read_tensors": read_tensors,
        "read_vector": read_vector,
        "write_tensors": write_tensors,
        "write_vector": write_vector,
        "average_slice": average_slice,
        "_step": outer_step,
    },
}
"""Module → name → what stands there while the model is explored."""
