"""Ways to average updates that lie in files, each over one slice of them. One process's part of `bench_combine.py`."""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xxhash

from contracts.records import FileRef
from runs.transfer import MeteredFiles, metering
from stores.shared_files import FolderFiles
from training.combine import Update, average_slice
from training.vector_files import Vector, write_vector

HASHED_BLOCK = 1 << 16
"""Values at a time, where mapped updates are hashed and added."""


class Slice(NamedTuple):
    """One slice of the updates of one round.

    Args:
        folder: of the shared files.
        bounds: the cuts of the whole vector.
        refs: of the updates, with a digest a slice; float32, one a worker.
        halves: the same as bfloat16.
        pickles: the same vectors, pickled; shorter than `refs` where one stands for several.
    """

    folder: str
    bounds: tuple[int, ...]
    index: int
    refs: list[FileRef]
    halves: list[FileRef]
    pickles: list[str]

    @property
    def paths(self) -> list[Path]:
        """Of the float32 updates."""
        return [Path(self.folder, ref.path) for ref in self.refs]


class Kept:
    """What a process keeps from one combine to the next, as a warm function keeps its memory."""

    def __init__(self) -> None:
        self.maps: dict[str, Vector] = {}
        self.total: Vector = np.empty(0, dtype=np.float32)

    def sum_for(self, part: Slice) -> Vector:
        """Memory for the sum, shape (slice,), its pages touched."""
        low, high = part.bounds[part.index : part.index + 2]
        if self.total.size != high - low:
            self.total = np.zeros(high - low, dtype=np.float32)
        return self.total


def lambdafit(part: Slice, kept: Kept) -> Vector:
    """The combine task's own, on one machine."""
    return _average(part, part.refs)


def lambdafit_read(part: Slice, kept: Kept) -> Vector:
    """The same on a network file system: the updates are read, not mapped."""
    return _average(part, part.refs, give_views=False)


def lambdafit_bfloat16(part: Slice, kept: Kept) -> Vector:
    """The same, over updates of half the bytes."""
    return _average(part, part.halves)


def lambdafit_written(part: Slice, kept: Kept) -> Vector:
    """The same, and the mean written durably, as the task does with the new parameters."""
    mean = _average(part, part.refs)
    write_vector(FolderFiles(Path(part.folder)), f"mean-{part.index}.npy", mean, (0, mean.size), durable=True)
    return mean


def mapped(part: Slice, kept: Kept) -> Vector:
    """Each file mapped, for it is new in every round, and added in place. Nothing is checked."""
    total = kept.sum_for(part)
    for index, path in enumerate(part.paths):
        _add(total, _mapped(path, part), index)
    return _scaled(total, part)


def mapped_before(part: Slice, kept: Kept) -> Vector:
    """The limit: the same over maps that are kept, all pages touched."""
    total = kept.sum_for(part)
    for index, path in enumerate(part.paths):
        key = f"{path} {part.index} {len(part.bounds)}"
        if key not in kept.maps:
            kept.maps[key] = _mapped(path, part)
        _add(total, kept.maps[key], index)
    return _scaled(total, part)


def mapped_hashed(part: Slice, kept: Kept) -> Vector:
    """What a combine that maps and checks could reach: each block hashed, then added."""
    total = kept.sum_for(part)
    maps = [_mapped(path, part) for path in part.paths]
    digests = [xxhash.xxh3_128() for _ in maps]
    for start in range(0, total.size, HASHED_BLOCK):
        target = total[start : start + HASHED_BLOCK]
        for index, (whole, digest) in enumerate(zip(maps, digests, strict=True)):
            block = whole[start : start + HASHED_BLOCK]
            digest.update(block)
            _add(target, block, index)
    assert [digest.hexdigest() for digest in digests] == [ref.parts[part.index] for ref in part.refs]
    return _scaled(total, part)


def loaded(part: Slice, kept: Kept) -> Vector:
    """`np.load`, then added in place."""
    total = np.load(part.paths[0])
    for path in part.paths[1:]:
        total += np.load(path)
    total /= len(part.refs)
    return total  # type: ignore[no-any-return]


def stacked(part: Slice, kept: Kept) -> Vector:
    """All loaded and stacked, then the mean along the stack."""
    mean: Vector = np.mean(np.stack([np.load(path) for path in part.paths]), axis=0)
    return mean


def unpickled(part: Slice, kept: Kept) -> Vector:
    """Each unpickled from its file, then added in place."""
    total: Vector | None = None
    for index in range(len(part.refs)):
        vector = pickle.loads(Path(part.pickles[index % len(part.pickles)]).read_bytes())  # noqa: S301 - written here
        if total is None:
            total = vector
        else:
            total += vector
    assert total is not None
    total /= np.float32(len(part.refs))
    return total


WAYS: dict[str, Callable[[Slice, Kept], Vector]] = {
    "lambdafit": lambdafit,
    "lambdafit, with the write": lambdafit_written,
    "lambdafit, read, as on a network's files": lambdafit_read,
    "lambdafit, bfloat16": lambdafit_bfloat16,
    "limit: mapped memory, added in place": mapped_before,
    "mapped anew, added in place": mapped,
    "mapped, hashed, added": mapped_hashed,
    "np.load, in place": loaded,
    "stack and mean": stacked,
    "pickle, in place": unpickled,
}


def serve(channel: Connection) -> None:
    """A process of its own: told a slice, or the name of a way to average it, until it is told None.

    Answers seconds, seconds on a processor, and the sum of the mean.
    """
    part: Slice | None = None
    kept = Kept()
    while (message := channel.recv()) is not None:
        if isinstance(message, Slice):
            part, kept = message, Kept()
            continue
        assert part is not None
        began, busy = time.perf_counter(), time.process_time()
        mean = WAYS[message](part, kept)
        figures: tuple[Any, ...] = (time.perf_counter() - began, time.process_time() - busy)
        channel.send((*figures, math.fsum(mean[:: max(1, mean.size // 1000)].tolist())))
        del mean


def _average(part: Slice, refs: Sequence[FileRef], *, give_views: bool = True) -> Vector:
    files = MeteredFiles(FolderFiles(Path(part.folder), give_views=give_views))
    updates = [Update(index, ref, 1, "nonce") for index, ref in enumerate(refs)]
    with metering():
        return average_slice(files, updates, part.bounds, part.index)


def _mapped(path: Path, part: Slice) -> Vector:
    low, high = part.bounds[part.index : part.index + 2]
    whole: Vector = np.load(path, mmap_mode="r")
    return np.asarray(whole[low:high])


def _add(total: Vector, update: Vector, index: int) -> None:
    if index:
        np.add(total, update, out=total)
    else:
        np.copyto(total, update)


def _scaled(total: Vector, part: Slice) -> Vector:
    total *= np.float32(1 / len(part.refs))
    return total
