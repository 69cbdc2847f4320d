"""An hour of runs with faults on, and one run that never ends: whether memory, descriptors, files or the store grow.

Two processes side by side, each with a home and a folder for temporary files of its own (`soak_child.py`). What every
run ends with is checked; a wrong one ends the benchmark. Growth is the median slope over all pairs of samples, the
first quarter left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import harness
import held_resources

CHILD = Path(__file__).resolve().parent / "soak_child.py"
WAYS = ("faults", "steady")
WARM_UP_SHARE = 0.25
LEAST_MINUTES = 10.0
"""Shorter soaks show that it works; their slopes are noise."""

GRACE_S = 300.0
PARENT_MB_PER_H = 4.0
ENVIRONMENT_MB_PER_H = 4.0
DESCRIPTORS_PER_H = 1.0
FILES_PER_H = 5.0
STORE_MB_PER_H = 2.0
LEFT = {"engine.lock", "logs", "runs.db", "shared", "shared/runs", "telemetry.db"}
"""What a home without runs may hold: its stores, its lock, empty folders."""

Sample = dict[str, Any]


def run_child(way: str, minutes: float, sample_s: float) -> dict[str, Any]:
    """One process's samples and counts; `left_temporary` names what it left in its folder of temporary files."""
    with tempfile.TemporaryDirectory(prefix="lambdafit-soak-") as folder:
        temporary = Path(folder, "tmp")
        temporary.mkdir()
        options = ["--way", way, "--minutes", str(minutes), "--sample-s", str(sample_s)]
        command = [sys.executable, str(CHILD), f"{folder}/home", *options]
        environment = harness.variables(TMPDIR=str(temporary))
        answer = harness.run_json(command, environment, 60 * minutes + GRACE_S).answer
        return answer | {"left_temporary": sorted(path.name for path in temporary.rglob("*"))}


def settled(samples: list[Sample]) -> list[Sample]:
    """Those after the warm-up."""
    return samples[int(WARM_UP_SHARE * len(samples)) :]


def per_hour(samples: list[Sample], value: Callable[[Sample], float]) -> float:
    """How much a value grows in an hour."""
    return 3600 * held_resources.slope([(sample["at_s"], value(sample)) for sample in settled(samples)])


def environment_growth_mb(samples: list[Sample]) -> float:
    """MB an hour of the environment that grows fastest, of those that live through all settled samples."""
    looks = [{pid: held[0] for pid, held in sample["environments"].items()} for sample in settled(samples)]
    looks = [look for look in looks if look]
    lasting = set.intersection(*(set(look) for look in looks)) if looks else set()
    at_s = [sample["at_s"] for sample in settled(samples) if sample["environments"]]
    slopes = [held_resources.slope(list(zip(at_s, (look[pid] for look in looks), strict=True))) for pid in lasting]
    return 3600 * max(slopes, default=float("nan")) / 1e6


def store_bytes(sample: Sample) -> int:
    """Both stores with their write-ahead logs."""
    return sum(size for name, size in sample["home"].items() if ".db" in name)


def temporary_files(sample: Sample) -> int:
    """Files in the process's folder of temporary files."""
    return int(sample["temporary_files"])


def show_samples(result: harness.Result, way: str, samples: list[Sample]) -> None:
    """Some samples, evenly spaced."""
    head = ["minute", "runs", "rounds", "parent MB", "descriptors", "threads", "temporary files", "files in the home"]
    rows: list[list[object]] = [[*head, "stores MB", "shared MB", "logs MB"]]
    step = max(1, len(samples) // 12)
    for sample in samples[::step]:
        counts, home = sample["counts"], sample["home"]
        rows.append(
            [
                f"{sample['at_s'] / 60:.1f}",
                counts.get("runs", 0),
                counts.get("rounds", 0),
                f"{sample['parent_bytes'] / 1e6:.1f}",
                sample["parent_descriptors"],
                sample["parent_threads"],
                sample["temporary_files"],
                sample["home_files"],
                f"{store_bytes(sample) / 1e6:.1f}",
                f"{home['shared'] / 1e6:.1f}",
                f"{home['logs'] / 1e6:.2f}",
            ]
        )
    result.table(f"{way}: what is held", rows)


def set_goals(result: harness.Result, way: str, found: dict[str, Any], minutes: float) -> None:
    """Slopes, and what is left in the end."""
    samples = found["samples"]
    long_enough = minutes >= LEAST_MINUTES

    def grows(what: str, value: float, unit: str, most: float) -> None:
        reached = value <= most if long_enough else None
        result.goal(f"{way}: {what}", f"{value:+.2f} {unit}/h", f"<= {most:g} {unit}/h", reached)

    grows("parent's memory", per_hour(samples, lambda sample: sample["parent_bytes"] / 1e6), "MB", PARENT_MB_PER_H)
    grows("parent's descriptors", per_hour(samples, _descriptors), "", DESCRIPTORS_PER_H)
    grows("temporary files", per_hour(samples, temporary_files), "", FILES_PER_H)
    if way == "steady":
        grows("an environment's memory", environment_growth_mb(samples), "MB", ENVIRONMENT_MB_PER_H)
        _show_a_round(result, samples)
    else:
        stores = per_hour(samples, lambda sample: store_bytes(sample) / 1e6)
        grows("stores, with the newest runs kept", stores, "MB", STORE_MB_PER_H)
        grows("files in the home", per_hour(samples, lambda sample: sample["home_files"]), "", FILES_PER_H)
    left = sorted(set(found["left"]) - LEFT) + found["left_temporary"]
    result.goal(f"{way}: left behind by removal", ", ".join(left) or "nothing", "nothing", not left)


def _descriptors(sample: Sample) -> float:
    return float(sample["parent_descriptors"])


def _show_a_round(result: harness.Result, samples: list[Sample]) -> None:
    """What an endless run keeps of each round until it is removed: its records and its logs."""
    first, last = settled(samples)[0], samples[-1]
    rounds = max(1, last["counts"]["rounds"] - first["counts"]["rounds"])
    kept = {"stores": store_bytes(last) - store_bytes(first), "logs": last["home"]["logs"] - first["home"]["logs"]}
    shared = last["home"]["shared"] - first["home"]["shared"]
    rows = [["bytes a round of 4 workers", "value"], *([name, f"{size / rounds:.0f}"] for name, size in kept.items())]
    result.table("steady: what a run keeps of a round", [*rows, ["shared files", f"{shared / rounds:.0f}"]])


def main() -> None:
    """Run it."""
    parser = harness.parser(__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--sample-s", type=float, default=30.0)
    options = parser.parse_args()
    if options.quick:
        options.minutes, options.sample_s = 1.0, 2.0
    result = harness.begin("soak", options)
    try:
        measure(result, options)
    except subprocess.SubprocessError as error:
        raise SystemExit(str(error)) from error
    result.finish(harness.output_folder(options))


def measure(result: harness.Result, options: argparse.Namespace) -> None:
    """Both ways at once."""
    with ThreadPoolExecutor(len(WAYS)) as pool:
        children = {way: pool.submit(run_child, way, options.minutes, options.sample_s) for way in WAYS}
    found = {way: child.result() for way, child in children.items()}
    for way in WAYS:
        show_samples(result, way, found[way]["samples"])
    counts = {name: count for way in WAYS for name, count in found[way]["counts"].items()}
    result.table("What was done to them", [["what", "times"], *sorted(counts.items())])
    result.raw["found"] = found
    result.goal("every run ended with exact parameters", f"{counts['runs']} runs", "all", True)  # others have raised
    for way in WAYS:
        set_goals(result, way, found[way], options.minutes)


if __name__ == "__main__":
    main()
