"""The published scaling replayed: 1 to 256 workers whose steps are slept, over the real protocol, store and files.

Time is scaled down, and for the large vector bytes with it, so that a function's bandwidth keeps its meaning. The cores
of this machine do what hundreds of functions would: how busy they were is in the table, and counts against the result.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np

import harness
from contracts.records import FileRef, Run
from contracts.settings import OuterSettings, RunSettings
from handlers import wiring
from runs.services import Services
from runs.slices import slice_count
from runs.start import start
from simulated_functions import SimulatedFunctions, Speeds, conduct
from stores.shared_files import FolderFiles
from stores.sqlite import SqliteStore
from training.vector_files import slice_bounds, write_vector

PUBLISHED_MINUTES = {1: 221, 2: 193, 4: 157, 8: 139, 16: 118, 32: 132, 64: 168}
PUBLISHED_EPOCHS = {1: 45, 2: 36, 4: 30, 8: 27, 16: 21, 32: 18, 64: 16}
STEP_S = 15 * 60 / 68
"""68 steps were published to fit into the 15 minutes of a function."""

STEPS = 22
"""Of an epoch of one worker: 221 minutes are 45 epochs of 22 steps, and 4 s a round for all else."""

WARM_UP = 1
MILLION = 1_000_000
SCALES = {1: 100, 2: 100, 4: 100, 8: 100, 16: 100, 32: 50, 64: 20, 128: 12, 256: 6}
"""How many times faster than published: less where this machine has the work of many to do."""

MOST_ROUNDS = {1: 3, 2: 3, 4: 3, 8: 3, 16: 3, 128: 2, 256: 2}

HOP_S = 0.5
"""From the run store to a function, by its stream: twice a round (as `runs.workload` reckons)."""

EFS_REQUEST_S = 0.005
EFS_SPEEDS = Speeds(HOP_S, EFS_REQUEST_S, 300e6)
"""As `runs.workload` reckons with."""

GOALS = {("1 M", 64): 0.95, ("1 M", 256): 0.9, ("20 M, 500 MB/s", 64): 0.85}

SHARDS_S = {1: 188.8, 2: 97.8, 4: 59.8, 8: 26.9, 16: 22.3}
CLIENTS = 20
SHARDED_BYTES = 512.3e6
SHARD_SPEEDS = Speeds(hop_s=0.0, request_s=0.23, bytes_per_s=50e6)
"""The bandwidth is published. The seconds are fitted, and nothing else is: what a shard's wall time holds beside its
bytes, by each of its 21 files."""

SHARDS_SCALE = 20
BYTES_SCALE = 100
SHARDS_WITHIN = 0.2

SLICED = {"16 × 1 MB": (16, 1e6), "16 × 43 MB": (16, 43e6), "64 × 80 MB": (64, 80e6), "256 × 4 MB": (256, 4e6)}
SLICES = (1, 4, 16)
SLICES_SCALE = 2


@dataclass(frozen=True)
class Vectors:
    """What workers hand in.

    Args:
        values: float32 parameters, as published.
        scaled: whether bytes are scaled as time is; then speeds are the published ones.
        bytes_per_s: of one function; None: as fast as this machine is.
    """

    name: str
    values: int
    scaled: bool
    bytes_per_s: float | None


SMALL = Vectors("1 M", MILLION, scaled=False, bytes_per_s=None)
LARGE = Vectors("20 M, 500 MB/s", 20 * MILLION, scaled=True, bytes_per_s=500e6)
LARGE_S3 = Vectors("20 M, 55 MB/s", 20 * MILLION, scaled=True, bytes_per_s=55e6)
VECTORS = {one.name: one for one in (SMALL, LARGE, LARGE_S3)}


@dataclass(frozen=True)
class Point:
    """One number of workers.

    Args:
        round_s: each measured round, in this machine's seconds.
        asleep_s: what a round's steps sleep.
        busy: of the machine's cores while rounds were measured, 0 … 1.
    """

    workers: int
    scale: float
    slices: int
    round_s: list[float]
    asleep_s: float
    busy: float

    @property
    def efficiency(self) -> float:
        """Computing by all of a round: in nothing but computing, N workers do N times the work of one."""
        return self.asleep_s / harness.median(self.round_s)

    @property
    def published_s(self) -> float:
        """A round's seconds at the published speed."""
        return harness.median(self.round_s) * self.scale


def run_settings(workers: int, values: int, rounds: int, step_s: float) -> RunSettings:
    """As on AWS: every worker at once, no queue."""
    return RunSettings(
        recipe="sleep",
        recipe_digest="none",
        dataset="none",
        recipe_settings={"values": values, "step_s": step_s},
        workers=workers,
        concurrency=workers,
        in_flight_per_place=1,
        batch_size=1,
        steps_per_round=STEPS,
        rounds=rounds,
        outer=OuterSettings(kind="sgd", learning_rate=1.0),
        max_cost_usd=1e6,
    )


def replay(vectors: Vectors, workers: int, scale: float, rounds: int, folder: Path | None) -> Point:
    """Some rounds of one number of workers.

    Raises:
        AssertionError: the parameters are not those of every update counted once.
    """
    values = round(vectors.values / scale) if vectors.scaled else vectors.values
    speeds = Speeds(HOP_S / scale, EFS_REQUEST_S / scale, vectors.bytes_per_s)
    settings = run_settings(workers, values, WARM_UP + rounds, STEP_S / scale)
    if vectors.scaled:  # as many as vectors of the published size would have
        settings = msgspec.structs.replace(settings, slices=slice_count(settings, 4 * vectors.values))
    root = Path(tempfile.mkdtemp(prefix="lambdafit-scaling-", dir=folder))
    looks: list[tuple[int, float, float]] = []
    try:
        store, files = SqliteStore(root / "runs.db"), FolderFiles(root / "shared")
        with SimulatedFunctions(root, speeds, workers, harness.cores()) as functions:
            clock, randomness = wiring.SystemClock(), wiring.SystemRandomness()
            services = Services(store, store, files, functions, clock, randomness)

            def look(run: Run) -> None:
                if not looks or looks[-1][0] != run.round_index:
                    looks.append((run.round_index, time.perf_counter(), functions.busy_s()))

            run = conduct(functions, services, start(services, settings).run_id, look)
            records = store.load_rounds(run.run_id)
        store.close()
    finally:
        shutil.rmtree(root)
    assert run.status == "FINISHED", run.error
    wanted = settings.rounds
    assert run.results["first"] == run.results["last"] == wanted, f"{run.results}, expected {wanted}"
    commits = [record.committed_at for record in records]
    round_s = [after - before for before, after in pairwise(commits)][WARM_UP - 1 :]
    _, began, busy_before = looks[-1 - rounds]
    _, ended, busy_after = looks[-1]
    busy = (busy_after - busy_before) / (ended - began) / harness.cores()
    return Point(workers, scale, run.slices, round_s, STEPS * STEP_S / scale, busy)


def averaged(
    clients: int, vector_bytes: float, shards: int, speeds: Speeds, scale: float, folder: Path | None
) -> float:
    """Seconds at the published speed until all shards of the clients' vectors are averaged and written.

    Args:
        vector_bytes: of one client, as published.
        speeds: as published; here scaled like time and bytes.
    """
    values = int(vector_bytes / 4 / BYTES_SCALE)
    rate = speeds.bytes_per_s
    scaled = Speeds(speeds.hop_s / scale, speeds.request_s / scale, rate / BYTES_SCALE * scale if rate else None)
    root = Path(tempfile.mkdtemp(prefix="lambdafit-shards-", dir=folder))
    try:
        files, bounds = FolderFiles(root / "shared"), slice_bounds(values, shards)
        vector = np.ones(values, dtype=np.float32)
        refs = [write_vector(files, f"{index}.npy", vector, bounds, durable=False) for index in range(clients)]
        tiny = write_vector(files, "tiny.npy", vector[:shards], slice_bounds(shards, shards), durable=False)
        with SimulatedFunctions(root, scaled, shards, harness.cores()) as functions:
            aggregate_all(functions, [tiny], slice_bounds(shards, shards))  # every function's first call is slower
            wall_s = aggregate_all(functions, refs, bounds)
            assert not functions.problems, functions.problems[0]
    finally:
        shutil.rmtree(root)
    return wall_s * scale


def aggregate_all(functions: SimulatedFunctions, refs: list[FileRef], bounds: tuple[int, ...]) -> float:
    """Have every shard averaged by a function of its own. Returns seconds until the last one is done."""
    event = {"refs": [msgspec.to_builtins(ref) for ref in refs], "bounds": bounds}
    began = time.perf_counter()
    for index in range(len(bounds) - 1):
        functions.invoke("aggregate", event | {"index": index})
    for _ in bounds[1:]:
        functions.ended.get()
    return time.perf_counter() - began


def check_shards(result: harness.Result, repeats: int, folder: Path | None) -> None:
    """Whether the simulated functions take as long as real ones did."""
    found = {
        shards: [averaged(CLIENTS, SHARDED_BYTES, shards, SHARD_SPEEDS, SHARDS_SCALE, folder) for _ in range(repeats)]
        for shards in SHARDS_S
    }
    rows = [["shards", "published s", "simulated s", "of it"]]
    worst = 0.0
    for shards, published in SHARDS_S.items():
        ours = harness.median(found[shards])
        worst = max(worst, abs(ours / published - 1))
        rows.append([str(shards), f"{published}", f"{ours:.1f}", f"{ours / published:.2f}"])
    result.raw["shards_s"] = {str(shards): values for shards, values in found.items()}
    result.table(f"Sharded aggregation of 512.3 MB from {CLIENTS} clients", rows)
    what = "simulated functions, worst of 5 published wall times"
    result.goal(what, f"{worst:.0%} off", f"<= {SHARDS_WITHIN:.0%}", worst <= SHARDS_WITHIN)


def check_slices(result: harness.Result, scale: float, folder: Path | None) -> None:
    """What cutting a combine costs and saves on functions with the speeds of a network file system."""
    rows = [["s (all functions' s)", *(f"{count} slices" for count in SLICES), "chosen"]]
    raw: dict[str, dict[str, float]] = {}
    for name, (workers, vector_bytes) in SLICED.items():
        seconds = {count: averaged(workers, vector_bytes, count, EFS_SPEEDS, scale, folder) for count in SLICES}
        raw[name] = {str(count): value for count, value in seconds.items()}
        cells = [f"{value:.2f} ({count * (value - HOP_S):.1f})" for count, value in seconds.items()]
        chosen = slice_count(run_settings(workers, 1, 1, 0.0), int(vector_bytes))
        rows.append([name, *cells, str(chosen)])
    result.raw["slices_s"] = raw
    result.table("A combine by its slices, simulated functions at 300 MB/s, 5 ms a file, 0.5 s to be invoked", rows)


def published_efficiency(workers: int) -> float:
    """Epochs a minute of all workers, by those of one and their number."""
    speeds = {count: PUBLISHED_EPOCHS[count] / PUBLISHED_MINUTES[count] for count in (1, workers)}
    return speeds[workers] / speeds[1]


def table_row(point: Point) -> list[str]:
    """Published beside replayed."""
    workers = point.workers
    if workers in PUBLISHED_MINUTES:
        epochs = PUBLISHED_EPOCHS[workers]
        published = [str(epochs), str(PUBLISHED_MINUTES[workers]), f"{published_efficiency(workers):.2f}"]
        minutes = f"{epochs * point.published_s / 60:.0f}"
    else:
        published, minutes = ["–", "–", "–"], "–"
    overhead = (point.published_s - STEPS * STEP_S, (1 - point.efficiency) * 100)
    cells = [
        f"{point.efficiency:.3f}",
        f"{overhead[0]:.1f}",
        str(point.slices),
        f"{point.scale:g}",
        f"{point.busy:.0%}",
    ]
    return [str(workers), *published, minutes, *cells]


def show(result: harness.Result, name: str, points: list[Point]) -> None:
    """One vector's table and goals."""
    head = ["workers", "epochs", "published min", "its efficiency", "ours min", "efficiency", "s a round beside steps"]
    rows = [[*head, "slices", "times faster", "cores busy"], *(table_row(point) for point in points)]
    result.table(f"{name}: a worker's epoch is {STEPS} steps of {STEP_S:.1f} s", rows)
    result.raw[name] = [vars(point) for point in points]
    for point in points:
        if goal := GOALS.get((name, point.workers)):
            value, wanted = f"{point.efficiency:.3f}", f">= {goal}"
            result.goal(
                f"parallel efficiency, {name}, {point.workers} workers", value, wanted, point.efficiency >= goal
            )


def main() -> None:
    """Run it."""
    parser = harness.parser(__doc__)
    parser.add_argument("--workers", type=int, nargs="*", default=list(SCALES), help="for 1 M parameters")
    parser.add_argument("--large-workers", type=int, nargs="*", default=[16, 64], help="for 20 M parameters")
    parser.add_argument("--vectors", nargs="*", default=list(VECTORS), choices=VECTORS, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=4, help="measured at each point, after one to warm up")
    parser.add_argument("--faster", type=float, default=1.0, help="scale time down so many times more than usual")
    parser.add_argument("--shard-repeats", type=int, default=2)
    parser.add_argument(
        "--folder", type=Path, default=None, help="for stores and files; else memory, if there is enough"
    )
    options = parser.parse_args()
    if options.quick:
        options.workers, options.large_workers, options.vectors = [1, 16, 64], [16], list(VECTORS)[:2]
        options.rounds, options.faster, options.shard_repeats = 2, 4.0, 1
    options.folder = options.folder or memory_folder()
    result = harness.begin("scaling", options)
    check_shards(result, options.shard_repeats, options.folder)
    check_slices(result, SLICES_SCALE * options.faster, options.folder)
    for name in options.vectors:
        vectors, points = VECTORS[name], []
        for workers in options.workers if vectors is SMALL else options.large_workers:
            scale = scale_of(workers) * options.faster
            rounds = min(options.rounds, MOST_ROUNDS.get(workers, options.rounds))
            point = replay(vectors, workers, scale, rounds, options.folder)
            points.append(point)
            print(f"{name}: " + "  ".join(table_row(point)), flush=True)
        show(result, name, points)
    result.finish(harness.output_folder(options))


def scale_of(workers: int) -> float:
    """The table's; between its numbers that of the next larger one."""
    return next((float(scale) for count, scale in SCALES.items() if count >= workers), 1_280 / workers)


def memory_folder() -> Path | None:
    """A file system in memory with room for all, as no disk of a function holds its files. None: there is none."""
    shared = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    needed = 4 * 256 * 4 * MILLION
    return shared if shared.is_dir() and shutil.disk_usage(shared).free > needed else None


if __name__ == "__main__":
    main()
