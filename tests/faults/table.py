"""All schedules of a series, side by side, and what came of them as a table."""

from __future__ import annotations

import random
import re
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from faults.cloud_stage import CloudOutcome
from faults.local_stage import FROZEN, LONG, SMALL, Fault, Shape, Stage, fault_free_digest
from faults.schedules import early, schedule, shape_for

SIDE_BY_SIDE = 3
"""A run waits most of its time."""


SHAPES = {"small": SMALL, "long": LONG, "frozen": FROZEN}


@dataclass
class Played:
    """A schedule and its end."""

    label: str
    plan: list[str]
    struck: list[str]
    ends: list[str]
    wrong: str
    seconds: float


class Series:
    """Plays schedules of one machine in threads; a context manager that waits for them."""

    def __init__(self, folder: Path | None = None) -> None:
        self._own = folder is None
        self._folder = folder or Path(tempfile.mkdtemp(prefix="lambdafit-faults-"))
        self._pool = ThreadPoolExecutor(SIDE_BY_SIDE)
        self._digests: dict[Shape, Future[str]] = {}
        for name, shape in SHAPES.items():
            self._digests[shape] = self._pool.submit(fault_free_digest, shape, self._folder / name)

    def close(self) -> None:
        """What has not begun is not played."""
        self._pool.shutdown(cancel_futures=True)
        for shape in SHAPES if self._own else ():
            shutil.rmtree(self._folder / shape, ignore_errors=True)
        if self._own and not any(self._folder.iterdir()):  # what went wrong is kept to be looked at
            self._folder.rmdir()

    def random(self, seed: int) -> Future[Played]:
        """A randomised schedule."""
        shape, faults = schedule(seed)
        return self._pool.submit(self._play, f"seed-{seed}", shape, faults)

    def named(self, *names: str) -> Future[Played]:
        """These faults, early enough to strike."""
        chance = random.Random(" ".join(names))
        shape = shape_for(names, random.Random(1))
        faults = [early(name, chance) for name in names]
        label = re.sub(r"\W+", "-", names[0])
        return self._pool.submit(self._play, label, shape, faults)

    def _play(self, label: str, shape: Shape, faults: Sequence[Fault]) -> Played:
        folder = self._folder / label
        folder.mkdir()
        outcome = Stage(folder, shape, faults).play()
        expected = self._digests[shape].result()
        wrong = outcome.wrong or ("" if outcome.digest == expected else f"{outcome.digest}, expected {expected}")
        if not wrong:
            shutil.rmtree(folder, ignore_errors=True)
        struck = [one.name for one in outcome.struck]
        return Played(label, [str(one) for one in faults], struck, outcome.ends, wrong, outcome.seconds)


def from_cloud(seed: int, outcome: CloudOutcome) -> Played:
    """A run in the stack."""
    struck = [name for name, count in outcome.faults.items() for _ in range(count)]
    return Played(f"cloud seed {seed}", outcome.names, struck, outcome.ends, outcome.wrong, outcome.seconds)


def table(played: Iterable[Played]) -> str:
    """Fault → times → schedules → outcomes, as Markdown."""
    times: Counter[str] = Counter()
    runs: dict[str, Counter[str]] = defaultdict(Counter)
    for one in played:
        times.update(one.struck)
        for name in dict.fromkeys(one.struck):
            runs[name]["schedules"] += 1
            runs[name]["wrong" if one.wrong else "resumed" if one.ends else "straight"] += 1
            runs[name].update({f"end {end}": 1 for end in set(one.ends)})
    lines = [
        "| fault | struck | in schedules | finished without a resume | resumed, after | wrong |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted(runs):
        counts = runs[name]
        ends = ", ".join(sorted(end.removeprefix("end ") for end in counts if end.startswith("end ")))
        resumed = f"{counts['resumed']}: {ends}" if counts["resumed"] else "0"
        lines.append(
            f"| {name} | {times[name]} | {counts['schedules']} | {counts['straight']} | {resumed} | {counts['wrong']} |"
        )
    return "\n".join(lines)
