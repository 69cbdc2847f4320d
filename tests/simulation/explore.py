"""`make simulate`: many schedules on all cores, one replayed, or the table of deliberate faults."""

from __future__ import annotations

import argparse
import logging
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from typing import NamedTuple

from simulation.mutants import MUTANTS, mutated
from simulation.plans import NAMES, check, expected
from simulation.regressions import seeds as regression_seeds
from simulation.shapes import RUN_ID

CHUNK = 50
MUTANT_SEEDS = 2_000


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


def find_mutants(seeds: int = MUTANT_SEEDS) -> Iterator[tuple[str, Found | None]]:
    """Each deliberate fault, and what found it first."""
    for name in NAMES:
        expected(name)  # before anything is wrong
    for name in MUTANTS:
        with mutated(name):
            yield name, first_finding(range(seeds))


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
    for name in NAMES:
        expected(name)
    began_s = time.perf_counter()
    with get_context("fork").Pool(processes) as pool:
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
        lost = 0
        for name, found in find_mutants():
            lost += found is None
            seed, invariant = (str(found.seed), found.invariant) if found else ("-", "NOT FOUND")
            print(f"| {name:<58} | {seed:>5} | {invariant:<46} |", flush=True)
        sys.exit(bool(lost))
    else:
        sys.exit(bool(explore_all(asked.first, asked.seeds, asked.processes)))


if __name__ == "__main__":
    main()
