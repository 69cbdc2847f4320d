"""The combine: 16 updates of 43 MB and of 512 MB averaged, beside the machine's own limit and plainer ways.

All read the same files from the kernel's cache and take turns. The limit adds mapped memory in place and checks
nothing. A second table cuts whole rounds into 1 to 8 slices: is the number that a run chooses right?
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pickle
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import bench_round
import harness
from combine_ways import WAYS, Slice, serve
from engines.local import MEMORY_VARIABLES
from runs.slices import slice_count
from stores.shared_files import FolderFiles
from training.bfloat16 import to_bfloat16
from training.vector_files import slice_bounds, write_vector

UPDATES = 16
SIZES = {"43 MB": 10_750_000, "512 MB": 128_000_000}
OURS, LIMIT = "lambdafit", "limit: mapped memory, added in place"
ONE_PROCESS_ONLY = ("np.load, in place", "stack and mean", "pickle, in place")
GOAL_SHARE = 0.8
SPARE_BYTES = 2 << 30
"""Of memory, for everybody else."""

PICKLED_BYTES = 2 << 30
"""Of pickles at most: of larger sets one stands for several."""

SLICES = (1, 2, 4, 8)
SLICED = {"0.1 MB": 25_000, "1 MB": 250_000, "4 MB": 1_000_000, "16 MB": 4_000_000, "43 MB": 10_750_000}
Figures = dict[str, list[tuple[float, float]]]


class Processes:
    """The processes that combine, as many as there are cores to scale to."""

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._channels: list[Connection] = []
        self._processes = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs,), daemon=True)
            process.start()
            self._channels.append(ours)
            self._processes.append(process)

    def tell(self, parts: list[Slice]) -> None:
        """One slice to each of the first processes."""
        for channel, part in zip(self._channels, parts, strict=False):
            channel.send(part)

    def run(self, way: str, count: int) -> tuple[float, float, float]:
        """Seconds until the last of `count` processes is done, their seconds on a processor, and the sum of sums."""
        for channel in self._channels[:count]:
            channel.send(way)
        answers = [channel.recv() for channel in self._channels[:count]]
        return max(one[0] for one in answers), sum(one[1] for one in answers), sum(one[2] for one in answers)

    def end(self) -> None:
        """Have them end."""
        for channel, process in zip(self._channels, self._processes, strict=True):
            channel.send(None)
            process.join()


@contextmanager
def written(values: int, processes: int, folder: Path | None) -> Iterator[dict[int, list[Slice]]]:
    """Write the updates, whole, halved and pickled; yields the slices for 1 … `processes` processes."""
    root = Path(tempfile.mkdtemp(prefix="lambdafit-combine-", dir=folder))
    try:
        files, random = FolderFiles(root), np.random.default_rng(7)
        base = random.standard_normal(values, dtype=np.float32)
        pickles: list[str] = []
        cuts = {count: slice_bounds(values, count) for count in range(1, processes + 1)}
        refs: dict[int, list[Any]] = {count: [] for count in cuts}
        halves: dict[int, list[Any]] = {count: [] for count in cuts}
        for index in range(UPDATES):
            vector = np.roll(base, index)
            for count, bounds in cuts.items():  # the same files; only the digests differ
                refs[count].append(write_vector(files, f"{index}.npy", vector, bounds, durable=count == 1))
                halves[count].append(
                    write_vector(files, f"{index}.half.npy", to_bfloat16(vector), bounds, durable=count == 1)
                )
            if not pickles or (index + 1) * vector.nbytes <= PICKLED_BYTES:
                path = root / f"{index}.pickle"
                path.write_bytes(pickle.dumps(vector))
                pickles.append(str(path))
        yield {
            count: [
                Slice(str(root), bounds, index, refs[count], halves[count], pickles) for index in range(len(bounds) - 1)
            ]
            for count, bounds in cuts.items()
        }
    finally:
        shutil.rmtree(root)


def fitting(values: int) -> int:
    """As many values as leave all files in the kernel's cache: whole, halved and pickled, and room for the sums."""
    room = psutil.virtual_memory().available - SPARE_BYTES - PICKLED_BYTES
    each = UPDATES * (4 + 2) + 4 * 4
    return min(values, int(room / each))


def measure(processes: Processes, slices: dict[int, list[Slice]], ways: list[str], repeats: int) -> dict[str, Figures]:
    """Seconds, and seconds on a processor, of every way, all taking turns; by number of processes."""
    found: dict[str, Figures] = {str(count): {} for count in slices}
    for repeat in range(repeats + 1):  # the first one warms up
        for count, parts in slices.items():
            processes.tell(parts)
            sums = {}
            for way in ways:
                if count > 1 and way in ONE_PROCESS_ONLY:
                    continue
                if way == LIMIT:
                    processes.run(way, count)  # touches its pages anew
                wall_s, busy_s, sums[way] = processes.run(way, count)
                if repeat:
                    found[str(count)].setdefault(way, []).append((wall_s, busy_s))
            if len(parts[0].pickles) < UPDATES:
                sums.pop("pickle, in place", None)  # some stood for others
            expected = sums[LIMIT]
            assert all(abs(one - expected) < 0.01 * (1 + abs(expected)) for one in sums.values()), sums
    return found


def show(result: harness.Result, name: str, values: int, found: dict[str, Figures]) -> None:
    """A size's table and goals."""
    if values < SIZES[name]:
        name = f"{4 * values / 1e6:.0f} MB, for want of memory"
    total_gb = UPDATES * 4 * values / 1e9
    rows = [["GB/s of float32 updates", "processes", "median", "quartiles", "a core's second", "of the limit"]]
    medians: dict[tuple[str, str], float] = {}
    for count, figures in found.items():
        for way, seconds in figures.items():
            speed = harness.spread(total_gb / wall for wall, _ in seconds)
            medians[count, way] = speed["median"]
            cells = [f"{speed['median']:.2f}", f"{speed['q1']:.2f} to {speed['q3']:.2f}"]
            cells.append(f"{total_gb / harness.median(busy for _, busy in seconds):.2f}")
            rows.append([way, count, *cells, f"{share(seconds, figures[LIMIT]):.2f}"])
    result.table(f"{UPDATES} × {4 * values / 1e6:.0f} MB", rows)
    one = share(found["1"][OURS], found["1"][LIMIT])
    result.goal(f"combine {name}, one process", f"{one:.2f} of the limit", f">= {GOAL_SHARE}", one >= GOAL_SHARE)
    if "2" in found:
        ours = medians["2", OURS] / medians["1", OURS]
        limit = medians["2", LIMIT] / medians["1", LIMIT]
        wanted = f">= {GOAL_SHARE} of the limit's own {limit:.2f}"
        result.goal(f"combine {name}, two processes of one's speed", f"{ours:.2f}", wanted, ours >= GOAL_SHARE * limit)


def share(ours: list[tuple[float, float]], limit: list[tuple[float, float]]) -> float:
    """The median over turns of a way's speed by the limit's: the two ran within the same second."""
    return harness.median(theirs / mine for (mine, _), (theirs, _) in zip(ours, limit, strict=True))


def sliced_rounds(result: harness.Result, sizes: list[str], rounds: int, blocks: int) -> None:
    """Whole rounds of 16 workers, cut into more and more slices, beside what a run would choose."""
    rows = [["ms a round", *(f"{count} slices" for count in SLICES), "chosen", "of the best"]]
    raw: dict[str, dict[str, list[float]]] = {}
    for size in sizes:
        point = raw.setdefault(size, {})
        for _ in range(blocks):
            for count in SLICES:
                seconds = bench_round.ours(UPDATES, SLICED[size], rounds, slices=count)
                point.setdefault(str(count), []).extend(seconds)
        medians = {count: harness.median(point[str(count)]) * 1e3 for count in SLICES}
        chosen = chosen_slices(SLICED[size])
        nearest = min(SLICES, key=lambda count: abs(count - chosen))
        ratio = medians[nearest] / min(medians.values())
        cells = [f"{medians[count]:.1f}" for count in SLICES]
        rows.append([size, *cells, str(chosen), f"{ratio:.2f}"])
        print("  ".join(rows[-1]), flush=True)
    result.raw["slices_s"] = raw
    result.table(f"A round of {UPDATES} workers with no compute, {harness.cores()} combine tasks at once", rows)


def chosen_slices(values: int) -> int:
    """What a run of 16 workers on this machine chooses."""
    return slice_count(bench_round.run_settings(UPDATES, values, 1), 4 * values)


def main() -> None:
    """Run it."""
    parser = harness.parser(__doc__)
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), choices=SIZES, metavar="SIZE")
    parser.add_argument("--repeats", type=int, default=9, help="of 16 × 43 MB; larger ones take a third")
    parser.add_argument("--folder", type=Path, default=None, help="for the updates; else the system's temporary one")
    parser.add_argument("--slices", nargs="*", default=list(SLICED), choices=SLICED, metavar="SIZE")
    parser.add_argument("--rounds", type=int, default=10, help="of each number of slices, in each block")
    parser.add_argument("--blocks", type=int, default=2, help="how often the numbers of slices take turns")
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.slices = options.sizes[:1], options.slices[1:2]
        options.repeats, options.rounds, options.blocks = 3, 5, 1
    os.environ |= MEMORY_VARIABLES  # as functions have them
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent)  # for the processes of whole rounds
    result = harness.begin("combine", options)
    measure_sizes(result, options)
    sliced_rounds(result, options.slices, options.rounds, options.blocks)
    result.finish(harness.output_folder(options))


def measure_sizes(result: harness.Result, options: argparse.Namespace) -> None:
    """Each size, one after the other: their files do not fit into memory together."""
    count = min(2, harness.cores())
    for name in options.sizes:
        values = fitting(SIZES[name])
        if values < SIZES[name]:
            print(f"{name}: too little memory is free; {4 * values / 1e6:.0f} MB each instead")
        ways = list(WAYS)
        stacked_bytes = 3 * UPDATES * 4 * values  # loaded and stacked, beside the files
        if stacked_bytes + SPARE_BYTES > psutil.virtual_memory().available:
            ways.remove("stack and mean")
            print(f"{name}: stack and mean would need {stacked_bytes / 1e9:.0f} GB and is left out")
        repeats = options.repeats if values <= SIZES["43 MB"] else max(3, options.repeats // 3)
        processes = Processes(count)
        try:
            with written(values, count, options.folder) as slices:
                found = measure(processes, slices, ways, repeats)
        finally:
            processes.end()
        result.raw[f"seconds, {name}"] = found
        show(result, name, values, found)


if __name__ == "__main__":
    main()
