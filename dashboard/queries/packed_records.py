"""Records that will not change any more, kept as compressed text: a twentieth of what they take as objects. Lossless.

64 workers hand in 64 tasks and 64 batches of spans a round, 4.7 kB of objects a worker; a run that is watched for hours
has thousands of rounds, and hardly anybody looks at the old ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import overload

import msgspec

from contracts.records import Record, Task, TaskKey

FAST = 1
"""zlib's level: the best one takes four times as long for a tenth less."""


class Packed[R: Record]:
    """Some records of one kind, as JSON like in the stores, compressed. Immutable."""

    __slots__ = ("_bytes", "_count", "_kind")

    def __init__(self, kind: type[R], records: Iterable[R]) -> None:
        listed = list(records)
        self._kind = kind
        self._count = len(listed)
        self._bytes = zlib.compress(msgspec.json.encode(listed), FAST)

    def __len__(self) -> int:
        return self._count

    @property
    def size_bytes(self) -> int:
        """What the records take."""
        return len(self._bytes)

    def unpack(self) -> list[R]:
        """The records, made anew."""
        return msgspec.json.decode(zlib.decompress(self._bytes), type=list[self._kind])  # type: ignore[name-defined]


class PackedRecords[R: Record](Sequence[R]):
    """Records of which the first ones are packed. A walk makes those anew, one part after the other.

    Args:
        packed: the first ones.
        rest: those behind them.
    """

    def __init__(self, packed: Iterable[Packed[R]], rest: Iterable[R]) -> None:
        self.parts: tuple[Packed[R] | R, ...] = (*packed, *rest)

    def __len__(self) -> int:
        return sum(len(part) if isinstance(part, Packed) else 1 for part in self.parts)

    def __iter__(self) -> Iterator[R]:
        return chain.from_iterable(map(records_of, self.parts))

    @overload
    def __getitem__(self, place: int) -> R: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[R, ...]: ...
    def __getitem__(self, place: int | slice) -> R | tuple[R, ...]:
        return tuple(self)[place]


class PackedTasks(Mapping[TaskKey, Task]):
    """The tasks of every round, of which the first rounds are packed. A walk unpacks one round after the other.

    Args:
        packed: those of the rounds from 0 on.
        unpacked: those of later rounds.
    """

    def __init__(self, packed: Iterable[Packed[Task]], unpacked: Mapping[int, Mapping[TaskKey, Task]]) -> None:
        self._packed = tuple(packed)
        self._unpacked = {index: unpacked[index] for index in sorted(unpacked)}
        self._last: tuple[int, Mapping[TaskKey, Task]] = (-1, {})  # who asks for a task soon asks for its neighbour

    @property
    def parts(self) -> tuple[Packed[Task] | Task, ...]:
        """Packed rounds, and behind them single tasks."""
        return (*self._packed, *chain.from_iterable(tasks.values() for tasks in self._unpacked.values()))

    def of_round(self, round_index: int) -> Mapping[TaskKey, Task]:
        """The tasks of one round; none where it is not known."""
        if not 0 <= round_index < len(self._packed):
            return self._unpacked.get(round_index, {})
        index, tasks = self._last
        if index != round_index:
            tasks = {task.key: task for task in self._packed[round_index].unpack()}
            self._last = round_index, tasks
        return tasks

    def __len__(self) -> int:
        return sum(map(len, self._packed)) + sum(map(len, self._unpacked.values()))

    def __iter__(self) -> Iterator[TaskKey]:
        return chain.from_iterable(map(self.of_round, (*range(len(self._packed)), *self._unpacked)))

    def __getitem__(self, key: TaskKey) -> Task:
        return self.of_round(key.round_index)[key]


def tasks_of(tasks: Mapping[TaskKey, Task], round_index: int) -> Mapping[TaskKey, Task]:
    """The tasks of one round."""
    if isinstance(tasks, PackedTasks):
        return tasks.of_round(round_index)
    return {key: task for key, task in tasks.items() if key.round_index == round_index}


def task_parts(tasks: Mapping[TaskKey, Task]) -> Sequence[Packed[Task] | Task]:
    """What the tasks lie in, without unpacking any: parts that have not changed are the very same objects."""
    return tasks.parts if isinstance(tasks, PackedTasks) else tuple(tasks.values())


def record_parts[R: Record](records: Sequence[R]) -> Sequence[Packed[R] | R]:
    """What the records lie in, without unpacking any: parts that have not changed are the very same objects."""
    return records.parts if isinstance(records, PackedRecords) else records


def records_of[R: Record](part: Packed[R] | R) -> Sequence[R]:
    """The records of a part."""
    return part.unpack() if isinstance(part, Packed) else (part,)
