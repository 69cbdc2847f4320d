"""`make simulate`: many schedules on all cores, one replayed, or the table of deliberate faults.

The table's seeds are kept in `mutant_seeds.txt`, so that the tests need not look for them again.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import resource
import sys
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from simulation.mutants import MUTANTS, mutated
from simulation.plans import NAMES, check, expected
from simulation.regressions import seeds as regression_seeds
from simulation.shapes import RUN_ID

CHUNK = 50
MUTANT_SEEDS = 2_000
MUTANT_SEEDS_FILE = Path(__file__).with_name("mutant_seeds.txt")
GARBAGE_EVERY = 100_000
"""New objects between two looks for cycles: a schedule's world is dropped whole, and a process does little else."""


class Found(NamedTuple):
    """A schedule that broke a promise."""

    seed: int
    invariant: str
    what: str


class Explored(NamedTuple):
    """What some schedules came to."""

    ends: Counter[str]
    turns: int
    found: list[Found]


def first_finding(seeds: range) -> Found | None:
    """The first seed whose schedule breaks a promise, if any does."""
    return next((found for seed in seeds if (found := try_seed(seed)[0])), None)


def try_seed(seed: int) -> tuple[Found | None, str, int]:
    """What one seed's schedule found, how the run ended, and after how many turns."""
    try:
        world = check(seed)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # noqa: BLE001 - a violation is none of Exception, so that no code under test hides it
        return Found(seed, getattr(error, "invariant", type(error).__name__), str(error)), "", 0
    run = world.store.runs[RUN_ID]
    return None, f"{run.status} ({run.reason})", world.turns


def explore(seeds: range) -> Explored:
    """Try some seeds, one after the other."""
    ends: Counter[str] = Counter()
    found, turns = [], 0
    for seed in seeds:
        finding, end, took = try_seed(seed)
        turns += took
        if finding:
            found.append(finding)
        else:
            ends[end] += 1
    return Explored(ends, turns, found)


def find_mutant(name: str) -> tuple[str, Found | None]:
    """What finds a deliberate fault first, of all seeds."""
    with mutated(name):
        return name, first_finding(range(MUTANT_SEEDS))


def find_mutant_again(name: str) -> Found | None:
    """What finds a deliberate fault: the seed that once did, or else the first of all."""
    lines = MUTANT_SEEDS_FILE.read_text(encoding="utf-8").splitlines()
    known = [int(seed) for seed, _, found_by_it in (line.partition(" ") for line in lines) if found_by_it == name]
    with mutated(name):
        found = next((found for seed in known if (found := try_seed(seed)[0])), None)
        return found or first_finding(range(MUTANT_SEEDS))


def find_mutants(processes: int) -> int:
    """Print and record what finds each deliberate fault first. Returns how many are not found."""
    run_without_faults()
    found_by: dict[str, Found | None] = {}
    with get_context("fork").Pool(processes, rarely_collect_garbage) as pool:
        for name, found in pool.imap_unordered(find_mutant, MUTANTS, chunksize=1):
            found_by[name] = found
            seed, invariant = (str(found.seed), found.invariant) if found else ("-", "NOT FOUND")
            print(f"| {name:<58} | {seed:>5} | {invariant:<46} |", flush=True)
        pool.close()
        pool.join()
    lines = [f"{found.seed} {name}\n" for name in MUTANTS if (found := found_by[name])]
    MUTANT_SEEDS_FILE.write_text("".join(lines), encoding="utf-8")
    return len(MUTANTS) - len(lines)


def rarely_collect_garbage() -> None:
    """For a process that does nothing but run schedules."""
    gc.freeze()
    gc.set_threshold(GARBAGE_EVERY)


def run_without_faults() -> None:
    """Before anything is wrong, and once for all processes."""
    for name in NAMES:
        expected(name)


def replay(seed: int) -> None:
    """Print a seed's schedule, and raise what it raises."""
    world = check(seed, traces=True)
    run = world.store.runs[RUN_ID]
    print("\n".join(world.trace))
    print(f"seed {seed}: {run.status} ({run.reason}), {world.settings.workers} workers, {world.faults}")


def explore_all(first: int, count: int, processes: int) -> int:
    """Try `count` seeds on some processes. Returns how many broke a promise."""
    chunks = [range(low, min(low + CHUNK, first + count)) for low in range(first, first + count, CHUNK)]
    chunks += [range(seed, seed + 1) for seed in regression_seeds()]
    ends: Counter[str] = Counter()
    turns, found = 0, []
    run_without_faults()
    began_s = time.perf_counter()
    with get_context("fork").Pool(processes, rarely_collect_garbage) as pool:
        for part in pool.imap_unordered(explore, chunks):
            ends += part.ends
            turns += part.turns
            found += part.found
            for finding in part.found:
                print(f"seed {finding.seed}: {finding.what}\n  replay: make simulate SEED={finding.seed}", flush=True)
        pool.close()
        pool.join()
    took_s = time.perf_counter() - began_s
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = used.ru_utime + used.ru_stime
    tried = ends.total() + len(found)
    print(f"{tried} schedules, {turns / max(1, tried):.0f} turns each, {len(found)} that broke a promise")
    print(
        f"{tried / took_s:.0f} schedules/s on {processes} processes, {tried / used_s:.0f} a second of one core's time"
    )
    print(", ".join(f"{count} {end}" for end, count in ends.most_common()))
    if found:
        print(f"\nthe schedule of seed {found[0].seed}:")
        try:
            replay(found[0].seed)
        except BaseException as error:  # noqa: BLE001 - it is what was looked for
            print(error)
    return len(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--mutants", action="store_true")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if asked.seed is not None:
        replay(asked.seed)
    elif asked.mutants:
        sys.exit(bool(find_mutants(asked.processes)))
    else:
        sys.exit(bool(explore_all(asked.first, asked.seeds, asked.processes)))


if __name__ == "__main__":
    main()
