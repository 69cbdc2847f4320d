"""Randomised schedules on one machine: which faults, and at which moments. A seed gives the same schedule again."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from faults import local_faults as faults
from faults.disks import can_mount
from faults.gate import Visit
from faults.local_stage import FROZEN, LONG, SMALL, Fault, Shape, libfaketime

WORKER = ("claiming", "claimed", "writing", "reporting", "reported")
CONDUCTOR = ("committing", "committed", "offering", "offered", "invoking")
JUMPS_S = (-200_000.0, -3_600.0, -40.0, 25.0, 40.0, 3_600.0, 200_000.0)

# name → course, where it may begin, kinds of tasks ("" any)
KINDS: dict[str, tuple[Any, Sequence[str], str]] = {
    "kill -9 of an environment": (faults.kill_environment, WORKER, ""),
    "kill -9 of the conductor": (faults.kill_conductor, (*CONDUCTOR, *WORKER), ""),
    "kill -9 of both": (faults.kill_both, WORKER, ""),
    "Ctrl-C": (faults.interrupt, (*CONDUCTOR, *WORKER), ""),
    "stopped from elsewhere": (faults.stop_the_run, ("committed", "claimed", "writing", "invoking"), ""),
    "a function leaves": (faults.die, WORKER, ""),
    "an unexpected exception": (faults.raise_error, ("claimed", "writing"), ""),
    "SIGSTOP past the time limit": (faults.stop_past_the_limit, ("claimed", "writing", "reporting"), ""),
    "SIGSTOP of the conductor": (faults.stop_conductor, WORKER, ""),
    "zombie: SIGSTOP past the lease": (faults.zombie, ("claimed", "reporting"), "train"),
    "zombie: overtaken by a backup": (faults.straggler, ("claimed", "reporting"), "train"),
    "memory cap": (faults.eat_memory, ("claimed",), ""),
    "report lost": (faults.lose_report, ("reporting",), ""),
    "event delivered twice": (faults.deliver_twice, ("invoking",), ""),
    "event lost": (faults.lose_event, ("invoking",), ""),
    "update damaged": ("updates", ("claimed",), "combine"),
    "worker's state damaged": ("state", ("claimed",), "train"),
    "parameters damaged": ("parameters", ("claimed",), "train"),
    "conductor's clock jumps": ("conductor", (*CONDUCTOR, *WORKER), ""),
    "workers' clocks jump": ("worker", (*CONDUCTOR, *WORKER), ""),
    "the machine's clock jumps": ("machine", (*CONDUCTOR, *WORKER), ""),
    "pause": (faults.pause, ("claimed",), "train"),
    "checkpoint damaged": (faults.damage_checkpoint, ("claimed",), "train"),
    "SQLite locked": (faults.lock_store, (*CONDUCTOR, *WORKER), ""),
    "SQLite locked for long": (faults.lock_store_for_long, (*CONDUCTOR, *WORKER), ""),
    "disk full": (faults.disk_full, (*CONDUCTOR, *WORKER), ""),
    "disk full for a moment": (faults.disk_full_for_a_moment, (*CONDUCTOR, *WORKER), ""),
    "read-only remount": (faults.read_only, ("claimed", "reporting", "offered", "committed"), ""),
    "killed while it overwrites a spare": (faults.kill_environment, ("writing",), "spare"),
}
FEATURES: dict[str, tuple[Any, Sequence[str], str]] = {
    "kill -9 of an environment, computing features": (faults.kill_environment, WORKER, "features"),
    "kill -9 of both, computing features": (faults.kill_both, WORKER, "features"),
    "SIGSTOP past the time limit, computing features": (faults.stop_past_the_limit, ("claimed", "writing"), "features"),
    "pause, computing features": (faults.pause, ("claimed",), "extract"),
}
"""Those of a run with a frozen backbone; everything else may befall it, too."""

KINDS |= FEATURES
DISK = frozenset({"disk full", "disk full for a moment", "read-only remount"})
FAKETIME = frozenset({"the machine's clock jumps"})
OFTEN = {"committed": 12, "committing": 12, "invoking": 26, "writing": 60, "offered": 10, "offering": 10}
"""How many visits a small run pays to a point; to those not named, 25."""

SELDOM = {"extract": 2, "combine": 8, "train": 14, "spare": 20}
"""The same for kinds of tasks, and for files that are written over spares."""

FROZEN_EVERY = 5
"""One in so many random schedules has a frozen backbone."""


def fault(name: str, chance: random.Random, *, point: str = "", count: int = 0) -> Fault:
    """A fault of this name, at a random moment unless it is given."""
    course, points, kind = KINDS[name]
    how = ""
    point = point or chance.choice(list(points))
    most = SELDOM.get(kind) or OFTEN.get(point, 25)
    if kind == "features":
        most = 20 if point == "writing" else 3
    if isinstance(course, str) and course in ("conductor", "worker", "machine"):
        course = faults.skew(course, chance.choice(JUMPS_S), chance.randint(3, 30))
    elif isinstance(course, str):
        how = chance.choice(("flip", "truncate", "zeros", "remove"))
        course = faults.damage(course, how)
    moment = f"{point} {kind}".strip()
    return Fault(
        name, _fits(point, kind), count or chance.randint(1, most), course, name in DISK, name in FAKETIME, moment, how
    )


def early(name: str, chance: random.Random) -> Fault:
    """A fault of this name that strikes, as it comes early enough."""
    match KINDS[name][2]:
        case "features":
            return fault(name, chance, point="writing", count=chance.randint(2, 20))
        case "extract":
            return fault(name, chance, count=chance.randint(1, 2))
        case _:
            return fault(name, chance, count=chance.randint(2, 6))


def _fits(point: str, kind: str) -> Callable[[Visit], bool]:
    if kind == "spare":
        return lambda visit: visit.point == point and visit.spare
    if kind == "features":
        return lambda visit: visit.point == point and (visit.kind == "extract" or "/features/" in visit.path)
    return lambda visit: visit.point == point and kind in ("", visit.kind)


def possible() -> list[str]:
    """The faults that this machine allows: some need root's rights, one a library."""
    without = (frozenset() if can_mount() else DISK) | (frozenset() if libfaketime() else FAKETIME)
    return [name for name in KINDS if name not in without]


def schedule(seed: int) -> tuple[Shape, list[Fault]]:
    """A run, and one to four faults; the name of the first goes round, so that all are tried as often."""
    chance = random.Random(seed)
    names = [name for name in possible() if name not in FEATURES]
    first = names[seed % len(names)]
    chosen = [first, *chance.choices(names, k=chance.choice((0, 1, 1, 2, 3)))]
    shape, planned = shape_for(chosen, chance), [fault(name, chance) for name in chosen]
    if seed % FROZEN_EVERY == 0 and shape is SMALL:
        return FROZEN, [*planned, fault(chance.choice(list(FEATURES)), chance)]
    return shape, planned


def shape_for(names: Sequence[str], chance: random.Random) -> Shape:
    """A small run, and now and then a long one with large files: always where a spare is meant.

    With a backbone where a fault is one of its outputs.
    """
    if not FEATURES.keys().isdisjoint(names):
        return FROZEN
    return LONG if any(KINDS[name][2] == "spare" for name in names) or chance.random() < 0.15 else SMALL
