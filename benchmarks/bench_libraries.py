"""The workers' libraries: the archive that a worker unpacks beside the plain installation of the same pins.

Sizes; what is read, and the time, until a first training step is done; from a cold page cache and a warm one.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import harness
from libraries.build import PYTHON, Built, build, built, find_uv
from libraries.lock import LOCK, this_architecture

WAYS = ("plain", "archive")
WORK = harness.ROOT / "build" / "bench-libraries"
CHILD = Path(__file__).with_name("libraries_child.py")
NOISE = 0.03
"""Medians of the same way differ by as much from one run of this benchmark to the next."""

DROP_CACHES = Path("/proc/sys/vm/drop_caches")


def install(folder: Path, requirements: Path) -> Path:
    """Plainly, compiled as pip does; kept for the next time while the pins stay."""
    note = folder.with_name(f"{folder.name}.pins")
    if note.exists() and note.read_bytes() == requirements.read_bytes():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    command = [find_uv(), "pip", "install", "--quiet", "--target", folder, "--python", sys.executable, "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "--link-mode", "copy", "--requirement", requirements]
    subprocess.run(command, check=True)
    # With some files that are no Python for this version: compileall says so by its exit code, pip looks away.
    subprocess.run([sys.executable, "-m", "compileall", "-q", folder], check=False, stdout=subprocess.DEVNULL)
    note.write_bytes(requirements.read_bytes())
    return folder


def size(folder: Path) -> tuple[int, int]:
    """Bytes and files below a folder."""
    found = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return sum(found), len(found)


def drop_caches(folders: list[Path]) -> str:
    """Empty the page cache, of which nothing waits to be written.

    Returns:
        how: everything by the kernel, where root may; else the files of these folders by posix_fadvise.
    """
    try:
        DROP_CACHES.write_text("3")
    except OSError:
        for folder in folders:
            for path in [folder] if folder.is_file() else folder.rglob("*"):
                if path.is_file():
                    descriptor = os.open(path, os.O_RDONLY)
                    try:
                        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                    finally:
                        os.close(descriptor)
        return "posix_fadvise(DONTNEED) on the packages' files"
    return "drop_caches: the whole machine's"


class Bench:
    """The two ways, ready to run."""

    def __init__(self, archive: Built, timeout_s: float) -> None:
        self.archive = archive
        self.plain = install(WORK / "plain", LOCK)
        self.layer = install(WORK / "layer", harness.ROOT / "layer" / "requirements.txt")
        self.temporary = WORK / "unpacked"
        self._timeout_s = timeout_s

    def command(self, way: str) -> tuple[list[str], dict[str, str]]:
        """The child's command and variables: the source, the layer's packages, and TensorFlow in one way."""
        interpreter = Path(sys.base_prefix) / "bin" / f"python{PYTHON}"
        source = str(self.archive.path.resolve()) if way == "archive" else "-"
        path = [harness.SOURCE, *([self.plain] if way == "plain" else []), self.layer]
        variables = harness.variables(PYTHONPATH=os.pathsep.join(map(str, path)), PYTHONDONTWRITEBYTECODE="1")
        return [str(interpreter), "-s", str(CHILD), source, str(self.temporary)], variables

    def once(self, way: str, *, cold: bool) -> dict[str, Any]:
        """One process until its first training step; the archive is unpacked anew."""
        shutil.rmtree(self.temporary, ignore_errors=True)
        os.sync()  # what an earlier run has unpacked would still be on its way to the disk
        how = drop_caches([self.plain, self.layer, self.archive.path]) if cold else ""
        command, variables = self.command(way)
        finished = harness.run_json(command, variables, self._timeout_s)
        answer = finished.answer
        wanted = self.plain if way == "plain" else self.temporary
        place = str(answer.pop("tensorflow"))
        assert place.startswith(str(wanted)), place
        answer["first_step_s"] = answer.pop("stepped_at") - finished.started_at
        return answer | {"way": way, "cold": cold, "dropped": how}

    def files_opened(self, way: str) -> tuple[int, int] | None:
        """Files of the packages that are opened until the first step, and calls that look for files; by strace."""
        if shutil.which("strace") is None:
            return None
        shutil.rmtree(self.temporary, ignore_errors=True)
        command, variables = self.command(way)
        trace = WORK / f"{way}.trace"
        traced = ["strace", "-f", "-qq", "-e", "trace=%file", "-o", str(trace), *command]
        harness.run_json(traced, variables, 4 * self._timeout_s)
        folders = [f'"{folder}/' for folder in ((self.plain if way == "plain" else self.temporary), self.layer)]
        opened, calls = set(), 0
        for line in trace.read_text(errors="replace").splitlines():
            if any(folder in line for folder in folders) and "O_CREAT" not in line and "mkdir" not in line:
                calls += 1
                if "openat(" in line and "= -1" not in line and "O_DIRECTORY" not in line:
                    opened.add(line.split('"')[1])
        trace.unlink()
        return len(opened), calls


def medians(rows: list[dict[str, Any]], way: str, *, cold: bool, what: str) -> float:
    """The median of one figure."""
    return harness.median([row[what] for row in rows if row["way"] == way and row["cold"] is cold])


def sizes(bench: Bench, result: harness.Result) -> dict[str, tuple[int, int]]:
    """Print the sizes."""
    contents = bench.archive.manifest.contents
    found = {
        "plain installation": size(bench.plain),
        "archive": (bench.archive.manifest.archive_bytes, 1),
        "archive, unpacked": (contents.bytes, contents.files),
    }
    plain_bytes = found["plain installation"][0]
    rows = [["what", "MB", "files", "of the plain installation's bytes"]]
    rows += [[what, f"{b / 1e6:,.0f}", f"{n:,}", f"{b / plain_bytes:.0%}"] for what, (b, n) in found.items()]
    result.table("Sizes", rows)
    result.raw["sizes"] = {what: list(value) for what, value in found.items()}
    return found


def reading(bench: Bench, runs: list[dict[str, Any]], result: harness.Result) -> Mapping[str, float]:
    """Print what is read until the first training step."""
    opened = {way: bench.files_opened(way) for way in WAYS}
    result.raw["opened"] = opened
    read = {}
    rows = [["way", "MB from storage, cold", "files opened", "calls that name a file"]]
    for way in WAYS:
        cold = [row["read_bytes"] for row in runs if row["way"] == way and row["cold"]]
        read[way] = harness.median(cold) if cold and None not in cold else float("nan")
        calls = opened[way]
        counted = [f"{count:,}" for count in calls] if calls else ["not measured"] * 2
        rows.append([way, f"{read[way] / 1e6:,.0f}", *counted])
    result.table("Read until the first training step", rows)
    return read


def main() -> None:
    """Run it."""
    parser = harness.parser(__doc__)
    parser.add_argument("--repetitions", type=int, default=7, help="of each way, cold and warm, which take turns")
    parser.add_argument("--timeout-s", type=float, default=240.0)
    options = parser.parse_args()
    if platform.system() != "Linux" or sys.version_info[:2] != (3, 13):
        parser.error(f"the archive is for Linux and Python {PYTHON}: run it there")
    if options.quick:
        options.repetitions = 1
    folder = harness.ROOT / "build" / "libraries"
    archive = built(folder, this_architecture()) or build(folder, this_architecture(), print)
    WORK.mkdir(parents=True, exist_ok=True)
    bench = Bench(archive, options.timeout_s)
    result = harness.begin("libraries", options)
    result.raw["archive"] = archive.manifest.to_json()
    found = sizes(bench, result)
    for way in WAYS:
        bench.once(way, cold=False)  # from here on warm
    runs = [bench.once(way, cold=True) for _ in range(options.repetitions) for way in WAYS]
    for way in WAYS:
        bench.once(way, cold=False)
    runs += [bench.once(way, cold=False) for _ in range(options.repetitions) for way in WAYS]
    result.raw["runs"] = runs
    read = reading(bench, runs, result)
    rows = [["seconds, median (least to most)", "unpacking", "import", "first training step"]]
    for cold in (True, False):
        for way in WAYS:
            cells = []
            for what in ("libraries_s", "import_s", "first_step_s"):
                values = [row[what] for row in runs if row["way"] == way and row["cold"] is cold]
                cells.append(f"{harness.median(values):.2f} ({min(values):.2f} to {max(values):.2f})")
            rows.append([f"{way}, {'cold' if cold else 'warm'}", *cells])
    result.table("From process start to the first training step", rows)
    print(f"cold: by {runs[0]['dropped']}")
    goals(result, found, read, runs)
    shutil.rmtree(bench.temporary, ignore_errors=True)
    result.finish(harness.output_folder(options))


def goals(
    result: harness.Result,
    found: Mapping[str, tuple[int, int]],
    read: Mapping[str, float],
    runs: list[dict[str, Any]],
) -> None:
    """Note what was wanted, and whether it was reached."""
    plain_bytes = found["plain installation"][0]
    for what, measured in (("archive's bytes", found["archive"][0]), ("bytes read, cold, with it", read["archive"])):
        share = measured / plain_bytes
        reached = share <= 0.5 if share == share else None  # NaN: not measured
        result.goal(f"{what} of the plain installation's", f"{share:.0%}", "<= 50 %", reached)
    plain_s = medians(runs, "plain", cold=False, what="first_step_s")
    after_s = harness.median(
        row["first_step_s"] - row["libraries_s"] for row in runs if row["way"] == "archive" and not row["cold"]
    )
    result.goal(
        "first step, warm, from the archive, after unpacking",
        f"{after_s:.2f} s",
        f"<= {1 + NOISE:.2f} of plain's {plain_s:.2f} s",
        after_s <= (1 + NOISE) * plain_s,
    )


if __name__ == "__main__":
    main()
