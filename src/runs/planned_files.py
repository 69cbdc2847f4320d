"""What a planned run moves through the shared files, kind by kind of task: counted as it is metered when it runs. Pure.

Which files a task reads and writes, in which pieces, is said by its use case (`runs.train`, `runs.combine`, …); a
benchmark holds these sums against what runs were metered with (`make bench-growth`).
"""

from __future__ import annotations

from collections.abc import Sequence

from contracts.records import TaskKind, Transfer
from contracts.settings import RunSettings
from runs.growth import VALUE_BYTES
from runs.half_updates import error_bytes, is_halved, update_bytes
from runs.paths import ROUND_FOLDERS
from runs.sizes import Sizes
from runs.stages import CLEAR_AT_ONCE_BYTES, CLEAR_EVERY_ROUNDS
from runs.transfer import LEAST_DATA_BYTES, METADATA_BYTES, METADATA_WRITES, metered_bytes
from training.combine import BLOCK_BYTES

LABEL_BYTES = 8
OUTER_VECTORS = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2}
MODEL_BYTES = 9 << 10
"""Of a finished model's file beside its values."""


class PlannedFiles:
    """The bytes of a run.

    Args:
        rounds: that it will have; in `validations` of them parameters are validated.
    """

    def __init__(self, settings: RunSettings, sizes: Sizes, slices: int, rounds: int, validations: int) -> None:
        self.settings, self.sizes = settings, sizes
        self.slices, self.rounds, self.validations = slices, rounds, validations
        self.environments = min(settings.workers, settings.concurrency)
        self.vector_bytes = VALUE_BYTES * sizes.parameters
        self.update_bytes = update_bytes(settings, sizes.parameters)
        self.state_bytes = sizes.state_bytes + error_bytes(settings, sizes.parameters)
        self._slice_bytes = -(-self.vector_bytes // slices)
        self._outer_bytes = OUTER_VECTORS[settings.outer.kind] * self._slice_bytes

    def of(self, kind: TaskKind) -> Transfer:
        """All bytes of a kind of task, over the whole run."""
        match kind:
            case "prepare":
                return self._prepare()
            case "extract":
                return self._extract()
            case "initialise":
                return self._initialise()
            case "train":
                return self._train()
            case "combine":
                return self._combine()
            case "evaluate":
                return self._evaluate()
            case "clear":
                return self._clear()

    @property
    def clearings(self) -> int:
        """Tasks that clear up: some on the way, one at the end."""
        due = 1 if self.vector_bytes * self.settings.workers > CLEAR_AT_ONCE_BYTES else CLEAR_EVERY_ROUNDS
        return 1 + max(0, self.rounds - 2 if due == 1 else (self.rounds - 1) // due)

    def _prepare(self) -> Transfer:
        arrays = [self._split(split) for split in ("train", "val", "test")]
        written = sum(_written(count) for split in arrays for count in split)
        return Transfer(read_bytes=METADATA_BYTES, written_bytes=written + _written(0))  # meta.json

    def _extract(self) -> Transfer:
        sizes = self.sizes
        if not sizes.feature_bytes:
            return Transfer()
        workers = self.settings.workers
        read = sum(_read(count) for count in (sizes.data_bytes, sizes.test_bytes, sizes.weights_bytes))
        written = _written(sizes.all_examples * sizes.feature_bytes // workers)
        return Transfer(read_bytes=workers * read, written_bytes=workers * written)

    def _initialise(self) -> Transfer:
        sizes = self.sizes
        features = sizes.all_examples * sizes.feature_bytes
        written = self.slices * _written(self._slice_bytes)
        written += sum(_written(count) for count in (sizes.state_bytes, sizes.constants_bytes, features) if count)
        return Transfer(read_bytes=2 * _read(features) if features else 0, written_bytes=written)

    def _train(self) -> Transfer:
        """Parameters and data once for each environment, which keeps them; its own state for each worker."""
        sizes, workers, rounds = self.sizes, self.settings.workers, self.rounds
        read = rounds * self.environments * self.slices * _read(self._slice_bytes)
        read += self.environments * self._arrays("train", "val") if self.validations else 0
        read += self.environments * self._arrays("train") if not self.validations else 0
        if sizes.feature_bytes and self.validations:  # the pictures that are shown with the first validation
            read += self.environments * _array_read(self._split("val")[0])
        read += workers * _read_if(sizes.state_bytes) + workers * (rounds - 1) * _read_if(self.state_bytes)
        read += workers * rounds * _read_if(sizes.constants_bytes)
        written = _written(self.update_bytes) + (_written(self.state_bytes) if self.state_bytes else 0)
        return Transfer(read_bytes=read, written_bytes=workers * rounds * written)

    def _combine(self) -> Transfer:
        """Of each update its last byte, to see that it is whole, then its slice block by block."""
        block_bytes = BLOCK_BYTES // 2 if is_halved(self.settings) else BLOCK_BYTES
        update = _read(1) + _blocks(-(-self.update_bytes // self.slices), block_bytes)
        read = self.rounds * (self.settings.workers * update + _read(self._slice_bytes))
        written = self.rounds * _written(self._slice_bytes)
        if self._outer_bytes:
            read += (self.rounds - 1) * _read(self._outer_bytes)  # the first round has none to read
            written += self.rounds * _written(self._outer_bytes)
        return Transfer(read_bytes=self.slices * read, written_bytes=self.slices * written)

    def _evaluate(self) -> Transfer:
        sizes = self.sizes
        read = self.slices * _read(self._slice_bytes) + _read_if(sizes.constants_bytes) + self._arrays("test")
        read += 0 if self.validations else self._arrays("val")
        model = self.vector_bytes + sizes.constants_bytes + sizes.weights_bytes + MODEL_BYTES
        return Transfer(read_bytes=read, written_bytes=2 * _written(model) + _written(0))  # and report.json

    def _clear(self) -> Transfer:
        """Folders are listed and removed one by one, whether there are any or not; the final parameters stay."""
        rounds = self.rounds + 2  # from that of the initial parameters to the one that did not begin
        looks = len(ROUND_FOLDERS) * (rounds + self.clearings) + 1
        files = self.slices + (1 if self.sizes.state_bytes else 0)
        a_round = self.slices * (2 if self._outer_bytes else 1)
        a_round += self.settings.workers * (2 if self.state_bytes else 1)
        removed = len(ROUND_FOLDERS) * rounds + files + self.rounds * a_round - self.slices - 1
        return Transfer(read_bytes=METADATA_BYTES * looks, written_bytes=METADATA_BYTES * removed)

    def _arrays(self, *splits: str) -> int:
        """Metered bytes of reading what is trained on, features where there are some."""
        return sum(_array_read(count) for split in splits for count in self._split(split, features=True))

    def _split(self, split: str, *, features: bool = False) -> Sequence[int]:
        """Bytes of the examples and of the labels of a split."""
        sizes = self.sizes
        count = {"train": sizes.examples, "val": sizes.val_examples, "test": sizes.test_examples}[split]
        if split == "test":
            total = sizes.test_bytes
        else:
            total = sizes.data_bytes * count // max(1, sizes.examples + sizes.val_examples)
        labels = min(LABEL_BYTES * count, total // 2)
        if features and sizes.feature_bytes:
            return count * sizes.feature_bytes, labels
        return total - labels, labels


def _read(count: int) -> int:
    """A file that is opened and read at once."""
    return METADATA_BYTES + metered_bytes(count)


def _read_if(count: int) -> int:
    return _read(count) if count else 0


def _written(count: int) -> int:
    return METADATA_WRITES * METADATA_BYTES + metered_bytes(count)


def _array_read(count: int) -> int:
    """An array's file: how long its header is, the header, the values."""
    return 3 * METADATA_BYTES + 2 * LEAST_DATA_BYTES + metered_bytes(count)


def _blocks(count: int, block_bytes: int) -> int:
    """Read in blocks of an open file."""
    whole, rest = divmod(count, block_bytes)
    return whole * metered_bytes(block_bytes) + (metered_bytes(rest) if rest else 0)
