"""`make faults SCHEDULES=200`, or `python -m faults` with `src` and `tests` on the path. Prints what came of it."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
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
    parser.add_argument("--minutes", type=float, default=120.0, help="what has not begun by then is left out")
    parser.add_argument("--results", type=Path, help="a file: results are added to it, the table is of all in it")
    parser.add_argument("--only", choices=("machine", "stack"), help="no schedules but those of one place")
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
    if chosen.only:
        seeds, cloud_seeds = (seeds, []) if chosen.only == "machine" else ([], cloud_seeds)
    played = _all(seeds, cloud_seeds, began + chosen.minutes * 60)
    if chosen.results:
        with chosen.results.open("a") as file:
            file.writelines(json.dumps(asdict(one)) + "\n" for one in played)
        played = [Played(**json.loads(line)) for line in chosen.results.read_text().splitlines()]
    print()
    print(table(played))
    wrong = [one for one in played if one.wrong]
    straight = sum(not one.ends and not one.wrong for one in played)
    print(
        f"\n{len(played)} schedules in {time.monotonic() - began:.0f} s: {straight} finished without a resume, "
        f"{len(played) - straight - len(wrong)} after one or more, {len(wrong)} wrong"
    )
    return 1 if wrong else 0


def _all(seeds: list[int], cloud_seeds: list[int], until: float) -> list[Played]:
    found: list[Played] = []
    with ThreadPoolExecutor(1) as beside:
        in_cloud = beside.submit(_in_cloud, cloud_seeds, until)
        series = Series()
        try:
            futures: list[Future[Played]] = [series.random(seed) for seed in seeds]
            for future in futures:
                if time.monotonic() >= until:  # what has begun is played to its end
                    for other in futures:
                        other.cancel()
                if not future.cancelled():
                    found.append(_told(future.result()))
        finally:
            series.close()
        found += in_cloud.result()
    if len(found) < len(seeds) + len(cloud_seeds):
        print(f"time is over: {len(seeds) + len(cloud_seeds) - len(found)} schedules were not played")
    return found


def _in_cloud(seeds: list[int], until: float) -> list[Played]:
    if not seeds:
        return []
    folder = Path(tempfile.mkdtemp(prefix="lambdafit-faults-cloud-"))
    with opened(folder) as runs:
        found = [_told(from_cloud(seed, play(runs, seed))) for seed in seeds if time.monotonic() < until]
    if not any(one.wrong for one in found):
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _told(one: Played) -> Played:
    print(f"{one.label}: {one.seconds:.1f} s, {', '.join(one.plan)}; ends: {', '.join(one.ends) or 'none'}", flush=True)
    if one.wrong:
        option = "--cloud-seed" if one.label.startswith("cloud") else "--seed"
        seed = one.label.rpartition("-")[2].rpartition(" ")[2]
        print(f"  WRONG: {one.wrong}\n  again: make faults FAULTS_ARGS='{option} {seed}'", flush=True)
    return one


if __name__ == "__main__":
    sys.exit(main())
