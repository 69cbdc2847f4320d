"""`make faults SCHEDULES=200`, or `python -m faults` with `src` and `tests` on the path. Prints what came of it."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from faults.cloud_stage import opened, play
from faults.schedules import KINDS, possible
from faults.table import Played, Series, from_cloud, table

CLOUD_SHARE = 9
"""Of so many schedules one is played in the rehearsal's stack."""


def main() -> int:
    """Play all, in the stack and on this machine side by side."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="only this one, on one machine")
    parser.add_argument("--cloud-seed", type=int, help="only this one, in the stack")
    chosen = parser.parse_args()
    for name in sorted(set(KINDS) - set(possible())):
        print(f"not possible here (needs root, or libfaketime): {name}")
    began = time.monotonic()
    if chosen.seed is not None or chosen.cloud_seed is not None:
        seeds = [chosen.seed] if chosen.seed is not None else []
        cloud_seeds = [chosen.cloud_seed] if chosen.cloud_seed is not None else []
    else:
        in_cloud = chosen.schedules // CLOUD_SHARE
        seeds = list(range(chosen.first, chosen.first + chosen.schedules - in_cloud))
        cloud_seeds = list(range(chosen.first, chosen.first + in_cloud))
    played = _all(seeds, cloud_seeds)
    print()
    print(table(played))
    wrong = [one for one in played if one.wrong]
    straight = sum(not one.ends and not one.wrong for one in played)
    print(
        f"\n{len(played)} schedules in {time.monotonic() - began:.0f} s: {straight} finished without a resume, "
        f"{len(played) - straight - len(wrong)} after one or more, {len(wrong)} wrong"
    )
    return 1 if wrong else 0


def _all(seeds: list[int], cloud_seeds: list[int]) -> list[Played]:
    with ThreadPoolExecutor(1) as beside:
        in_cloud = beside.submit(_in_cloud, cloud_seeds)
        series = Series()
        try:
            futures: list[Future[Played]] = [series.random(seed) for seed in seeds]
            found = [_told(future.result()) for future in futures]
        finally:
            series.close()
        found += in_cloud.result()
    return found


def _in_cloud(seeds: list[int]) -> list[Played]:
    if not seeds:
        return []
    folder = Path(tempfile.mkdtemp(prefix="lambdafit-faults-cloud-"))
    with opened(folder) as runs:
        return [_told(from_cloud(seed, play(runs, seed))) for seed in seeds]


def _told(one: Played) -> Played:
    print(f"{one.label}: {one.seconds:.1f} s, {', '.join(one.plan)}; ends: {', '.join(one.ends) or 'none'}", flush=True)
    if one.wrong:
        option = "--cloud-seed" if one.label.startswith("cloud") else "--seed"
        seed = one.label.rpartition("-")[2].rpartition(" ")[2]
        print(f"  WRONG: {one.wrong}\n  again: make faults FAULTS_ARGS='{option} {seed}'", flush=True)
    return one


if __name__ == "__main__":
    sys.exit(main())
